"""Episodes in a reel: each is replayed frame by frame in its cell, under a title with its step, return and score."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from tasks.arcade.drawing.canvas import Box
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.drawing.text import text_coverage, with_minus_sign
from tasks.arcade.drawing.video_format import AudioSamples
from tasks.arcade.drawing.widgets import BACKGROUND, BRIGHT, SOFT, Label
from tasks.arcade.emulator.emulator import SAMPLES_PER_FRAME, Emulator, Screen
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.episodes.trace import Sha256, Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.reel_layout import RUN_COLORS, TITLE_HEIGHT, ReelLayout
from tasks.arcade.video.render import check_step


class ReelEpisode(Settings):
    """An episode to show in a reel."""

    trace: Trace
    name: str = Field(description="Name of the run")
    side: int = Field(default=0, ge=0, le=1, description="0 for the first run, 1 for the second")


class ReelSegment(Settings):
    """Where an episode appears in a reel; it is shown from its reset on, frame by frame."""

    side: int
    step: int | None = Field(description="Training step of the checkpoint")
    ram_digest: Sha256 = Field(description="RAM digest of the episode's trace")
    first_frame: int = Field(description="Frame of the reel that shows the reset")
    frames: int = Field(description="Frames of the episode that are shown; the last one then freezes")
    pictures: Sha256 = Field(description="Digest of the emulator's screens (GameView.digest)")
    game: tuple[int, int, int, int] = Field(description="x, y, width and height of the game in pixels")


class EpisodeGroup:
    """Episodes that play simultaneously, one per cell."""

    def __init__(self, layout: ReelLayout, episodes: Sequence[ReelEpisode], *, sound: bool) -> None:
        self._cells = [
            _EpisodeCell(layout, index, episode, sound=sound and index == 0) for index, episode in enumerate(episodes)
        ]

    def length(self, seconds: float) -> int:
        """Return the number of frames until all episodes have ended, at most those of `seconds`."""
        return min(max(cell.frames for cell in self._cells), max(1, round(seconds * self._cells[0].fps)))

    def draw(self) -> AudioSamples | None:
        """Draw the next frame, and return the sound of the first episode, None in a silent video."""
        heard, *_ = [cell.draw() for cell in self._cells]
        return heard

    def segments(self, first_frame: int) -> list[ReelSegment]:
        """Return the segments of the episodes, which started at a frame of the reel."""
        return [cell.segment(first_frame) for cell in self._cells]


class _EpisodeCell:
    """One episode under its title."""

    def __init__(self, layout: ReelLayout, index: int, episode: ReelEpisode, *, sound: bool) -> None:
        (x, y), (width, height), canvas = layout.cell_origin(index), layout.cell_size, layout.canvas
        emulator = emulator_for_trace(episode.trace, sound=sound)
        self.frames, self.fps = episode.trace.frames + 1, emulator.screen_fps
        self._episode, self._drawn = episode, 0
        self._replay = _FrameReplay(episode.trace, emulator, sound=sound)
        self._view = GameView(canvas, Box(x, y + TITLE_HEIGHT, width, height), layout.size)
        self._canvas = canvas
        self._draw_title(Box(x, y, width, TITLE_HEIGHT))

    def _draw_title(self, box: Box) -> None:
        trace, size = self._episode.trace, 16 if box.width < 400 else 24
        self._canvas.fill(box, BACKGROUND)
        self._canvas.fill(Box(box.x, box.y + 8, 4, 24), RUN_COLORS[self._episode.side])
        step = _format_step(trace.checkpoint_step, short=size == 16)
        step_width = text_coverage(step, "Inter-SemiBold", size).shape[1] // 2 * 2 + 2
        step_box = Box(box.x + 12, box.y, step_width, TITLE_HEIGHT)
        Label(self._canvas, step_box, "Inter-SemiBold", size, BRIGHT).set(step)
        x, score_width = box.x + 12 + step_width + size // 2 * 2, 4 * size
        return_box = Box(x, box.y, box.x + box.width - score_width - x, TITLE_HEIGHT)
        episode_return = f"return {with_minus_sign(f'{trace.episode_return:,}')}"
        Label(self._canvas, return_box, "Inter-Medium", size - 2, SOFT).set(episode_return)
        score_box = Box(box.x + box.width - score_width, box.y, score_width, TITLE_HEIGHT)
        self._score_label = Label(self._canvas, score_box, "JetBrainsMono-Bold", size, BRIGHT, "right")

    def draw(self) -> AudioSamples | None:
        """Draw the next frame; after the last one the screen freezes, darkened."""
        if self._drawn < self.frames:
            self._replay.advance()
            self._view.draw(self._replay)
            self._score_label.set(with_minus_sign(f"{self._replay.score:,}"))
            self._drawn += 1
            return self._replay.sound
        if self._drawn == self.frames:
            self._drawn += 1
            luma, chroma = self._canvas.planes(self._view.box)
            luma[:] = luma // 2 + 8
            chroma[:] = chroma // 2 + 64
        return self._replay.silence

    def segment(self, first_frame: int) -> ReelSegment:
        box = self._view.box
        return ReelSegment(
            side=self._episode.side,
            step=self._episode.trace.checkpoint_step,
            ram_digest=self._episode.trace.ram_digest,
            first_frame=first_frame,
            frames=min(self._drawn, self.frames),
            pictures=self._view.digest,
            game=(box.x, box.y, box.width, box.height),
        )


def _format_step(step: int | None, *, short: bool) -> str:
    if step is None:
        return ""
    return f"step {step / 1e6:.2f}M" if short and step >= 1_000_000 else f"step {step:,}"


class _FrameReplay:
    """Replays a trace frame by frame, buffering the frames of one step: a `ScreenSource` for `GameView`.

    Attributes:
        score: Score up to the current step.
        sound: Sound of the current frame; None in a silent video.
        silence: Sound after the end of the episode; None in a silent video.
    """

    def __init__(self, trace: Trace, emulator: Emulator, *, sound: bool) -> None:
        self._trace, self._emulator, self._has_sound = trace, emulator, sound
        self._steps = replay(trace, emulator=emulator, on_frame=self._buffer)
        self._frames: deque[tuple[Screen, Screen | None, AudioSamples | None]] = deque()
        self._known_colors = np.zeros(256, np.bool_)
        self._indices = np.empty(emulator.screen_size, np.uint8)
        self._rgb: Screen | None = None
        self.score = 0
        self.sound: AudioSamples | None = None
        self.silence: AudioSamples | None = np.full(SAMPLES_PER_FRAME, 128, np.uint8) if sound else None

    def _buffer(self) -> None:
        indices = self._emulator.screen_indices(np.empty(self._emulator.screen_size, np.uint8))
        # RGB is read only for new colors: it takes thirty times as long.
        rgb = None if self._known_colors[indices].all() else self._emulator.screen()
        self._known_colors[indices] = True
        self._frames.append((indices, rgb, self._emulator.sound() if self._has_sound else None))

    def advance(self) -> None:
        """Advance to the next frame."""
        while not self._frames:
            step = next(self._steps)
            check_step(step, self._trace, "reel")
            self.score += step.reward
        self._indices, self._rgb, self.sound = self._frames.popleft()

    @property
    def screen_size(self) -> tuple[int, int]:
        return self._emulator.screen_size

    def screen_indices(self, into: Screen) -> Screen:
        into[:] = self._indices
        return into

    def screen(self) -> Screen:
        assert self._rgb is not None
        return self._rgb
