"""A trace becomes a video: drawn again by the emulator, every frame with its sound, and streamed to the encoder."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from tasks.arcade.drawing.canvas import Box, Canvas, GameView
from tasks.arcade.drawing.mp4_encoder import Encoder, Form, VideoError, find_ffmpeg
from tasks.arcade.emulator.emulator import SAMPLES, Emulator
from tasks.arcade.episodes.playing import Step, difference, emulator_of, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import EmbeddedTrace, embed_trace, file_digest
from tasks.arcade.video.outlines import Outlines

TELEVISION = Fraction(4, 3)
"""Width of the whole picture over its height."""
ACROSS, DOWN = 4, 2
"""Pixels of a plain video for one of the game, which is nearly twice as wide as it is high."""


class Video(Settings):
    """A video that was written."""

    frames: int
    width: int = Field(description="pixels stored; players stretch them, so that the game's picture is 4:3")
    height: int = Field(description="pixels stored")
    fps: float
    seconds: float


class Look(Protocol):
    """What a video's pictures are made of: the game, and what else lies on the canvas.

    Attributes:
        canvas: what is recorded.
        view: where on it the game is drawn, frame by frame.
        pixel: width of one of the canvas's pixels over its height, as shown.
        outlines: what was outlined on the game's picture so far; none: nothing ever is.
    """

    kind: Literal["plain", "panel"]
    canvas: Canvas
    view: GameView
    pixel: Fraction

    @property
    def outlines(self) -> Outlines | None: ...
    def show(self, step: Step, trace: Trace) -> None:
        """A step is played; the frames of the next one follow."""
        ...

    def draw(self, emulator: Emulator) -> None:
        """A frame is emulated: the reset's, or one of the step that was decided when `show` was called last."""
        ...


class Plain:
    """The game's picture and nothing else.

    Args:
        emulator: whose frames are shown.
        across: the video's pixels for one of the game, from left to right.
        down: and from top to bottom.
    """

    kind: Literal["plain", "panel"] = "plain"
    outlines = None

    def __init__(self, emulator: Emulator, across: int = ACROSS, down: int = DOWN) -> None:
        size = emulator.screen_size
        height, width = size[0] * down, size[1] * across
        self.canvas = Canvas(width, height)
        self.view = GameView(self.canvas, Box(0, 0, width, height), size)
        self.pixel = TELEVISION * height / width

    def show(self, step: Step, trace: Trace) -> None:
        """There is nothing beside the game."""

    def draw(self, emulator: Emulator) -> None:
        """Draw the last frame of the game."""
        self.view.draw(emulator)


def video(
    trace: Trace,
    path: Path,
    look: Callable[[Emulator], Look] = Plain,
    *,
    sound: bool = True,
    on_frame: Callable[[int], object] | None = None,
) -> Video:
    """Play a trace again, draw the reset and every frame after it, and write them as H.264 and AAC in an MP4.

    The frame rate is that of the console, not Gymnasium's `render_fps`; the file holds its own trace.

    Args:
        trace: what is drawn; every step is checked against it.
        path: the video; it appears whole or not at all. Its folder exists.
        look: from the emulator that plays, what the video shows.
        sound: whether it is heard.
        on_frame: called after each frame with the number of frames so far.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
        VideoError: the game plays otherwise than the trace says, or ffmpeg failed.
    """
    emulator = emulator_of(trace, sound=sound)
    shown = look(emulator)
    encoder = Encoder(
        path,
        form_of(shown.canvas, emulator, shown.pixel, sound=sound),
        _metadata(trace),
        lambda file: _sign(file, trace, shown, encoder),
    )
    with encoder:

        def show(step: Step) -> None:
            if wrong := difference(step, trace):
                raise VideoError(
                    f"{path.name}: the video would not be the trace's: other {wrong} at step {step.number}"
                )
            shown.show(step, trace)

        def draw() -> None:
            shown.draw(emulator)
            encoder.write(shown.canvas.picture, emulator.sound() if sound else None)
            if on_frame:
                on_frame(encoder.frames)

        frame_by_frame(trace, emulator, show, draw)
    form, frames = encoder.form, encoder.frames
    fps = float(form.rate)
    return Video(frames=frames, width=form.width, height=form.height, fps=fps, seconds=frames / fps)


def frame_by_frame(
    trace: Trace, emulator: Emulator, show: Callable[[Step], object], draw: Callable[[], object]
) -> None:
    """Play a trace again as it is seen: what is known after a step lies beside the frames of the next one.

    Args:
        trace: what is played.
        emulator: that plays it.
        show: called with the reset and with every step, before the frames that follow it; the reset's own picture
            waits for it, too.
        draw: called for each frame, the reset's first.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
    """
    begun = False

    def each_frame() -> None:
        if begun:
            draw()

    for step in replay(trace, emulator=emulator, each_frame=each_frame):
        show(step)
        if not begun:
            begun = True
            draw()


def _sign(file: Path, trace: Trace, look: Look, encoder: Encoder) -> None:
    mark = EmbeddedTrace(
        trace=trace,
        frames=encoder.frames,
        pictures=look.view.digest,
        kind=look.kind,
        width=encoder.form.width,
        height=encoder.form.height,
        ffmpeg=find_ffmpeg().version,
        file=file_digest(file),
        outlines=look.outlines,
    )
    embed_trace(file, mark)


def form_of(canvas: Canvas, emulator: Emulator, pixel: Fraction = Fraction(1), *, sound: bool) -> Form:
    """The form of a video that shows an emulator's frames, one by one, on a canvas.

    The rate is the console's to the nearest that gives a whole number of samples a second, so that picture and sound
    never drift apart; that is less than 1 in 50,000 away.
    """
    rate = Fraction(round(emulator.screen_fps * SAMPLES), SAMPLES)
    return Form(canvas.box.width, canvas.box.height, rate, pixel, SAMPLES if sound else 0)


def _metadata(trace: Trace) -> dict[str, str]:
    step = "" if trace.checkpoint_step is None else f", step {trace.checkpoint_step:,}"
    return {
        "title": f"{trace.game.env_id}{step}, return {trace.episode_return:,}",
        "comment": f"ramreel: seed {trace.seed}, RAM digest {trace.ram_digest}; the trace is in this file",
    }
