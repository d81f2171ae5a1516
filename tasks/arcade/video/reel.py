"""Several episodes in one video: one after the other, or side by side, each with its step, its return and its score.

Pictures are streamed: of an episode no more is kept than the frames of one step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.arcade.drawing.canvas import Box, Canvas, GameView
from tasks.arcade.drawing.mp4_encoder import Encoder, Sound, VideoError
from tasks.arcade.drawing.text import letters, signed
from tasks.arcade.drawing.widgets import BACKGROUND, BRIGHT, CHANGED, DECIDING, RAISED, SOFT, Color, Label
from tasks.arcade.emulator.emulator import SAMPLES, Emulator, Screen
from tasks.arcade.episodes.playing import difference, emulator_of, replay
from tasks.arcade.episodes.trace import Sha256, Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.render import TELEVISION, form_of

MOST = 16
"""Episodes side by side: four by four."""
_PAIRS = (1, 2, 3, 4, 6, 8)
"""Episodes of each of two runs that make whole rows."""
_MARGIN, _GAP, _HEADER, _STRIP, _FOOTER = 20, 12, 44, 40, 10
_SIDES: tuple[Color, ...] = (CHANGED, DECIDING)
"""Colours of the first run and of the one beside it."""


class Clip(Settings):
    """One episode in a reel."""

    trace: Trace
    name: str = Field(description="of the run")
    side: int = Field(default=0, ge=0, le=1, description="0: the first run, 1: the one beside it")


class Shown(Settings):
    """Where an episode is in a reel, and what of it is to be seen: from its reset on, frame by frame."""

    side: int
    step: int | None = Field(description="the checkpoint's")
    ram_digest: Sha256 = Field(description="of the episode's trace")
    first_frame: int = Field(description="of the reel, that shows the reset")
    frames: int = Field(description="of the episode that are to be seen; the last one then stands still")
    pictures: Sha256 = Field(description="of the pictures that the emulator drew (canvas.GameView.digest)")
    game: tuple[int, int, int, int] = Field(description="x, y, width and height of the game's picture, in pixels")


class Reel(Settings):
    """A reel that was written."""

    frames: int
    width: int
    height: int
    fps: float
    shown: tuple[Shown, ...]


def evenly(n: int, most: int) -> tuple[int, ...]:
    """Indices of at most so many out of n, evenly spaced; the first and the last are among them.

    Of one that is wanted, it is the last. Raises ValueError if none is there, or wanted.
    """
    count = min(n, most)
    if count < 1:
        raise ValueError(f"{most} of {n} cannot be chosen")
    return (n - 1,) if count == 1 else tuple(round(k * (n - 1) / (count - 1)) for k in range(count))


def cast(numbers: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Which of the checkpoints of one run, or of two, play in a reel: indices, evenly chosen, as many of each run.

    Args:
        numbers: how many checkpoints each run has.
    """
    most = MOST if len(numbers) == 1 else max(n for n in _PAIRS if n <= min(numbers))
    return tuple(evenly(n, most) for n in numbers)


def sequence(scenes: Sequence[Sequence[Clip]], path: Path, seconds: float) -> Reel:
    """A video of scenes one after the other, with sound; the episodes of a scene, one or two, are side by side.

    Args:
        scenes: of episodes of one game; every scene has as many.
        path: the video; it appears whole or not at all. Its folder exists.
        seconds: of each scene at most; it ends before when all its episodes have.

    Raises:
        TraceError: an episode cannot be played with what is installed here.
        VideoError: a game plays otherwise than its trace says, or ffmpeg failed.
    """
    return _record_video_of(scenes, path, seconds, columns=len(scenes[0]), sound=True)


def grid(sides: Sequence[Sequence[Clip]], path: Path, seconds: float) -> Reel:
    """A silent video of episodes side by side, up to four by four, all from their reset on.

    Args and errors are those of `sequence`, but for:
        sides: the episodes of one run, or of two, as many of each; their rows take turns.
    """
    columns, clips = _in_rows(sides)
    return _record_video_of([clips], path, seconds, columns=columns, sound=False)


def pictures(sides: Sequence[Sequence[Clip]], seconds: float, every: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A small grid's pictures as they are to be seen, RGB, one in so many frames: for an animation.

    Raises:
        TraceError: an episode cannot be played with what is installed here.
        VideoError: a game plays otherwise than its trace says.
    """
    columns, clips = _in_rows(sides)
    layout = _Layout(emulator_of(clips[0].trace).screen_size, len(clips), columns, square=True)
    layout.head([clips])
    scene = _Scene(layout, clips, sound=False)
    for at in range(scene.length(seconds)):
        scene.draw()
        if at % every == 0:
            yield layout.canvas.rgb()


def _in_rows(sides: Sequence[Sequence[Clip]]) -> tuple[int, list[Clip]]:
    """How many stand side by side, and the episodes row by row."""
    n = len(sides[0])
    if len(sides) == 1:
        return (2 if n == 2 else ceil(n**0.5)), list(sides[0])
    columns = n if n <= 4 else n // 2
    if n == 1:
        return 2, [clip for side in sides for clip in side]
    return columns, [clip for at in range(0, n, columns) for side in sides for clip in side[at : at + columns]]


class _Layout:
    """A canvas with a header, so many cells, and a bar under them that tells how far a sequence is."""

    def __init__(self, size: tuple[int, int], cells: int, columns: int, *, square: bool = False) -> None:
        height, width = size
        across = 2 if columns > 2 else 4 if columns > 1 else 6
        self.size, self.columns = size, columns
        # A video's pixels may be stretched when it is shown; an animation's are square.
        self.cell = (round(height * 2 / 3) * 2, height) if square else (width * across, height * across // 2)
        rows = -(-cells // columns)
        canvas_width = 2 * _MARGIN + columns * self.cell[0] + (columns - 1) * _GAP
        self._top = _MARGIN + _HEADER
        canvas_height = self._top + rows * (_STRIP + self.cell[1] + _GAP) + _FOOTER + _MARGIN - _GAP
        self.canvas = Canvas(canvas_width, canvas_height + canvas_height % 2, BACKGROUND)
        self.pixel = TELEVISION * self.cell[1] / self.cell[0]
        self._bar = Box(_MARGIN, canvas_height // 2 * 2 - _MARGIN, canvas_width - 2 * _MARGIN, 6)

    def place(self, number: int) -> tuple[int, int]:
        """Upper left corner of a cell."""
        row, column = divmod(number, self.columns)
        return _MARGIN + column * (self.cell[0] + _GAP), self._top + row * (_STRIP + self.cell[1] + _GAP)

    def head(self, scenes: Sequence[Sequence[Clip]]) -> None:
        """The game, and the runs in their colors."""
        width = self.canvas.box.width - 2 * _MARGIN
        title = scenes[0][0].trace.game.env_id
        titled = min(letters(title, "Inter-SemiBold", 24).shape[1] // 2 * 2 + 2, width // 4 * 2)
        Label(self.canvas, Box(_MARGIN, 12, titled, 40), "Inter-SemiBold", 24, BRIGHT).set(title)
        names = sorted({(clip.side, clip.name) for scene in scenes for clip in scene}, reverse=True)
        most = (width - titled) // len(names) // 2 * 2 - 48
        x = _MARGIN + width
        for side, name in names:
            wide = min(letters(name, "Inter-Medium", 18).shape[1] // 2 * 2 + 2, most)
            x -= wide
            Label(self.canvas, Box(x, 14, wide, 36), "Inter-Medium", 18, SOFT).set(name)
            self.canvas.fill(Box(x - 20, 26, 12, 12), _SIDES[side])
            x -= 48

    def tell(self, scene: int, scenes: int, share: float) -> None:
        """How far the sequence is: each scene has a piece of a bar, which fills up while it is shown."""
        pitch = self._bar.width // scenes // 2 * 2
        box = Box(self._bar.x + scene * pitch, self._bar.y, max(2, pitch - 4), self._bar.height)
        self.canvas.fill(box, RAISED)
        self.canvas.fill(Box(box.x, box.y, round(box.width * share / 2) * 2, box.height), SOFT)


def _record_video_of(
    scenes: Sequence[Sequence[Clip]], path: Path, seconds: float, *, columns: int, sound: bool
) -> Reel:
    first = emulator_of(scenes[0][0].trace)
    layout = _Layout(first.screen_size, len(scenes[0]), columns)
    form = form_of(layout.canvas, first, layout.pixel, sound=sound)
    layout.head(scenes)
    in_turn = range(len(scenes)) if len(scenes) > 1 else ()
    for number in in_turn:
        layout.tell(number, len(scenes), 0)
    shown: list[Shown] = []
    with Encoder(path, form, _metadata(scenes)) as encoder:
        for number, clips in enumerate(scenes):
            scene, begin = _Scene(layout, clips, sound=sound), encoder.frames
            length = scene.length(seconds)
            for at in range(1, length + 1):
                heard = scene.draw()
                if in_turn:
                    layout.tell(number, len(scenes), at / length)
                encoder.write(layout.canvas.picture, heard)
            shown += scene.shown(begin)
    return Reel(frames=encoder.frames, width=form.width, height=form.height, fps=float(form.rate), shown=tuple(shown))


def _metadata(scenes: Sequence[Sequence[Clip]]) -> dict[str, str]:
    clips = [clip for scene in scenes for clip in scene]
    names = " and ".join(dict.fromkeys(clip.name for clip in clips))
    digests = " ".join(clip.trace.ram_digest[:16] for clip in clips)
    return {
        "title": f"{clips[0].trace.game.env_id}, {names}: {len(clips)} checkpoints",
        "comment": f"ramreel: seed {clips[0].trace.seed}, RAM digests {digests}",
    }


class _Scene:
    """Episodes that are played at the same time."""

    def __init__(self, layout: _Layout, clips: Sequence[Clip], *, sound: bool) -> None:
        self._cells = [_Cell(layout, number, clip, sound=sound) for number, clip in enumerate(clips)]

    def length(self, seconds: float) -> int:
        """Frames until all episodes are over, or the time is."""
        return min(max(cell.frames for cell in self._cells), max(1, round(seconds * self._cells[0].fps)))

    def draw(self) -> Sound | None:
        """Draw the next frame; returns what is heard of all episodes together."""
        heard = [sound for cell in self._cells if (sound := cell.draw()) is not None]
        return np.mean(heard, axis=0).astype(np.uint8) if heard else None

    def shown(self, begin: int) -> list[Shown]:
        """What was seen of the episodes in a video, from its frame `begin` on."""
        return [cell.shown(begin) for cell in self._cells]


class _Cell:
    """One episode with its title."""

    def __init__(self, layout: _Layout, number: int, clip: Clip, *, sound: bool) -> None:
        (x, y), (width, height), canvas = layout.place(number), layout.cell, layout.canvas
        emulator = emulator_of(clip.trace, sound=sound)
        self.frames, self.fps = clip.trace.frames + 1, emulator.screen_fps
        self._clip, self._drawn = clip, 0
        self._episode = _Frames(clip.trace, emulator, sound=sound)
        self._view = GameView(canvas, Box(x, y + _STRIP, width, height), layout.size)
        self._canvas = canvas
        self._title(Box(x, y, width, _STRIP))

    def _title(self, box: Box) -> None:
        trace, size = self._clip.trace, 16 if box.width < 400 else 24
        self._canvas.fill(box, BACKGROUND)
        self._canvas.fill(Box(box.x, box.y + 8, 4, 24), _SIDES[self._clip.side])
        step = _step_words(trace.checkpoint_step, short=size == 16)
        wide = letters(step, "Inter-SemiBold", size).shape[1] // 2 * 2 + 2
        Label(self._canvas, Box(box.x + 12, box.y, wide, _STRIP), "Inter-SemiBold", size, BRIGHT).set(step)
        x, score = box.x + 12 + wide + size // 2 * 2, 4 * size
        place = Box(x, box.y, box.x + box.width - score - x, _STRIP)
        outcome = f"return {signed(f'{trace.episode_return:,}')}"
        Label(self._canvas, place, "Inter-Medium", size - 2, SOFT).set(outcome)
        right = Box(box.x + box.width - score, box.y, score, _STRIP)
        self._score = Label(self._canvas, right, "JetBrainsMono-Bold", size, BRIGHT, "right")

    def draw(self) -> Sound | None:
        """Draw the next frame; after the last one the picture stands still, darker."""
        if self._drawn < self.frames:
            self._episode.advance()
            self._view.draw(self._episode)
            self._score.set(signed(f"{self._episode.score:,}"))
            self._drawn += 1
            return self._episode.heard
        if self._drawn == self.frames:
            self._drawn += 1
            luma, chroma = self._canvas.within(self._view.box)
            luma[:] = luma // 2 + 8
            chroma[:] = chroma // 2 + 64
        return self._episode.silence

    def shown(self, begin: int) -> Shown:
        box = self._view.box
        return Shown(
            side=self._clip.side,
            step=self._clip.trace.checkpoint_step,
            ram_digest=self._clip.trace.ram_digest,
            first_frame=begin,
            frames=min(self._drawn, self.frames),
            pictures=self._view.digest,
            game=(box.x, box.y, box.width, box.height),
        )


def _step_words(step: int | None, *, short: bool) -> str:
    if step is None:
        return ""
    return f"step {step / 1e6:.2f}M" if short and step >= 1_000_000 else f"step {step:,}"


class _Frames:
    """An episode frame by frame, though it is played step by step: what `GameView` draws from.

    Attributes:
        score: until the step that is shown.
        heard: with the frame that is shown; none in a silent video.
        silence: when the episode is over; none in a silent video.
    """

    def __init__(self, trace: Trace, emulator: Emulator, *, sound: bool) -> None:
        self._trace, self._emulator, self._sound = trace, emulator, sound
        self._steps = replay(trace, emulator=emulator, each_frame=self._keep)
        self._kept: deque[tuple[Screen, Screen | None, Sound | None]] = deque()
        self._known = np.zeros(256, np.bool_)
        self._indices = np.empty(emulator.screen_size, np.uint8)
        self._rgb: Screen | None = None
        self.score = 0
        self.heard: Sound | None = None
        self.silence: Sound | None = np.full(SAMPLES, 128, np.uint8) if sound else None

    def _keep(self) -> None:
        indices = self._emulator.screen_indices(np.empty(self._emulator.screen_size, np.uint8))
        # What colors are is asked only when there are new ones: it takes thirty times as long.
        rgb = None if self._known[indices].all() else self._emulator.screen()
        self._known[indices] = True
        self._kept.append((indices, rgb, self._emulator.sound() if self._sound else None))

    def advance(self) -> None:
        """Go on to the next frame."""
        while not self._kept:
            step = next(self._steps)
            if wrong := difference(step, self._trace):
                raise VideoError(f"the reel would not be its trace's: other {wrong} at step {step.number}")
            self.score += step.reward
        self._indices, self._rgb, self.heard = self._kept.popleft()

    @property
    def screen_size(self) -> tuple[int, int]:
        return self._emulator.screen_size

    def screen_indices(self, into: Screen) -> Screen:
        into[:] = self._indices
        return into

    def screen(self) -> Screen:
        assert self._rgb is not None
        return self._rgb
