"""Rendering a trace as a video: the emulator replays it, and every frame with its sound is streamed to the encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from pydantic import Field

from tasks.arcade.drawing.canvas import Box, Canvas
from tasks.arcade.drawing.ffmpeg import find_ffmpeg
from tasks.arcade.drawing.game_view import GameView
from tasks.arcade.drawing.mp4_encoder import Mp4Encoder
from tasks.arcade.drawing.video_format import ENCODING, AudioSamples, Encoding, VideoError, VideoFormat
from tasks.arcade.emulator.emulator import SAMPLES_PER_FRAME, Emulator
from tasks.arcade.episodes.playing import Step, emulator_for_trace, replay, trace_difference
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import EmbeddedTrace, embed_trace, file_digest
from tasks.arcade.video.outlines import Outlines

DISPLAY_ASPECT_RATIO = Fraction(4, 3)
"""Width of the game's screen divided by its height, as displayed on a television."""
SCALE_X, SCALE_Y = 4, 2
"""Pixels of a plain video per pixel of the game, whose pixels are nearly twice as wide as high."""


class RenderedVideo(Settings):
    """A video that was written."""

    frames: int
    width: int = Field(description="Stored width in pixels; players stretch it so that the game is displayed at 4:3")
    height: int = Field(description="Stored height in pixels")
    fps: float
    seconds: float


class FrameRenderer(Protocol):
    """Draws the frames of a video: the game, and what else is on the canvas.

    Attributes:
        canvas: The canvas whose frames are encoded.
        view: Where the game's screen is drawn on it.
        sample_aspect_ratio: Displayed width of a pixel of the canvas divided by its height.
        ending_seconds: How long the state after the last step stands at the end of the video.
        coarse_region: x, y, width and height of what is drawn beside the game; None if nothing is.
        outlines: Outlines drawn over the game so far; None for a video without any.
    """

    kind: Literal["plain", "panel"]
    canvas: Canvas
    view: GameView
    sample_aspect_ratio: Fraction
    ending_seconds: float
    coarse_region: tuple[int, int, int, int] | None

    @property
    def outlines(self) -> Outlines | None: ...
    def update(self, step: Step, trace: Trace) -> None:
        """Draw the state after a step, before the frames of the next one or, after the last step, of the ending."""
        ...

    def draw(self, emulator: Emulator) -> None:
        """Draw a frame: the reset's, or one of the step that follows the last `update`."""
        ...


class PlainRenderer:
    """Draws the game's screen alone, from the reset to the last frame of the episode.

    Args:
        emulator: Emulator that replays the trace.
        scale_x: Pixels of the video per pixel of the game, horizontally.
        scale_y: Pixels of the video per pixel of the game, vertically.
    """

    kind: Literal["plain", "panel"] = "plain"
    outlines = None
    ending_seconds: float = 0.0
    coarse_region: tuple[int, int, int, int] | None = None

    def __init__(self, emulator: Emulator, scale_x: int = SCALE_X, scale_y: int = SCALE_Y) -> None:
        size = emulator.screen_size
        height, width = size[0] * scale_y, size[1] * scale_x
        self.canvas = Canvas(width, height)
        self.view = GameView(self.canvas, Box(0, 0, width, height), size)
        self.sample_aspect_ratio = DISPLAY_ASPECT_RATIO * height / width

    def update(self, step: Step, trace: Trace) -> None:
        """Do nothing: a plain video shows no state."""

    def draw(self, emulator: Emulator) -> None:
        """Draw the current screen of the game."""
        self.view.draw(emulator)


def render_video(
    trace: Trace,
    path: Path,
    make_renderer: Callable[[Emulator], FrameRenderer] = PlainRenderer,
    *,
    sound: bool = True,
    on_frame: Callable[[int], object] | None = None,
    encoding: Encoding = ENCODING,
) -> RenderedVideo:
    """Replay a trace and write the reset's frame, every frame after it and the ending as an MP4 (H.264 and AAC).

    The frame rate is the console's, not Gymnasium's `render_fps`. The trace is embedded in the file.

    Args:
        trace: The trace; every step is compared with it.
        path: Path of the video, in a folder that exists. The file appears complete or not at all.
        make_renderer: Returns the renderer of the frames for the emulator that replays the trace.
        sound: Whether the video has sound.
        on_frame: Called after each frame with the number of frames so far.
        encoding: Version of the encoder's settings.

    Raises:
        TraceError: The trace cannot be replayed with the installed ale-py.
        VideoError: The replay differs from the trace, or ffmpeg failed.
    """
    emulator = emulator_for_trace(trace, sound=sound)
    renderer = make_renderer(emulator)
    target = video_format(renderer.canvas, emulator, renderer.sample_aspect_ratio, sound=sound)
    target = replace(target, encoding=encoding, coarse_region=renderer.coarse_region)
    ending = round(renderer.ending_seconds * target.frame_rate)
    encoder = Mp4Encoder(path, target, _metadata(trace), lambda file: _embed(file, trace, renderer, encoder, ending))
    silence = np.full(target.samples_per_frame, 128, np.uint8) if sound else None
    with encoder:

        def update(step: Step) -> None:
            check_step(step, trace, path.name)
            renderer.update(step, trace)

        def draw() -> None:
            renderer.draw(emulator)
            write(emulator.sound() if sound else None)

        def write(audio: AudioSamples | None) -> None:
            encoder.write(renderer.canvas.frame, audio)
            if on_frame:
                on_frame(encoder.frames)

        replay_frames(trace, emulator, update, draw)
        for _ in range(ending):
            write(silence)
    encoded, frames = encoder.video_format, encoder.frames
    fps = float(encoded.frame_rate)
    return RenderedVideo(frames=frames, width=encoded.width, height=encoded.height, fps=fps, seconds=frames / fps)


def check_step(step: Step, trace: Trace, name: str) -> None:
    """Raise VideoError if a replayed step differs from the trace, so that no video contradicts its trace."""
    if difference := trace_difference(step, trace):
        raise VideoError(f"{name}: {difference} at step {step.number} differs from the trace")


def replay_frames(
    trace: Trace, emulator: Emulator, update: Callable[[Step], object], draw: Callable[[], object]
) -> None:
    """Replay a trace in display order: the state after a step is shown with the frames of the next one.

    Args:
        trace: The trace.
        emulator: Emulator that replays it.
        update: Called with the reset and with every step, before the frames that follow it and before the reset's own.
        draw: Called for each frame, the reset's first.

    Raises:
        TraceError: The trace cannot be replayed with the installed ale-py.
    """
    started = False

    def on_frame() -> None:
        if started:
            draw()

    for step in replay(trace, emulator=emulator, on_frame=on_frame):
        update(step)
        if not started:
            started = True
            draw()


def _embed(file: Path, trace: Trace, renderer: FrameRenderer, encoder: Mp4Encoder, ending: int) -> None:
    embedded = EmbeddedTrace(
        trace=trace,
        frames=encoder.frames,
        ending=ending,
        encoding=encoder.video_format.encoding,
        pictures=renderer.view.digest,
        kind=renderer.kind,
        width=encoder.video_format.width,
        height=encoder.video_format.height,
        ffmpeg=find_ffmpeg().version,
        file=file_digest(file),
        outlines=renderer.outlines,
    )
    embed_trace(file, embedded)


def video_format(
    canvas: Canvas, emulator: Emulator, sample_aspect_ratio: Fraction = Fraction(1), *, sound: bool
) -> VideoFormat:
    """Return the format of a video that shows every frame of an emulator on a canvas.

    The frame rate is the console's, rounded by less than 1 in 50,000 to a whole number of sound samples per second, so
    that frames and sound never drift apart.
    """
    frame_rate = Fraction(round(emulator.screen_fps * SAMPLES_PER_FRAME), SAMPLES_PER_FRAME)
    samples = SAMPLES_PER_FRAME if sound else 0
    return VideoFormat(canvas.box.width, canvas.box.height, frame_rate, sample_aspect_ratio, samples)


def _metadata(trace: Trace) -> dict[str, str]:
    step = "" if trace.checkpoint_step is None else f", step {trace.checkpoint_step:,}"
    return {
        "title": f"{trace.game.env_id}{step}, return {trace.episode_return:,}",
        "comment": f"ramreel: seed {trace.seed}, RAM digest {trace.ram_digest}; the trace is in this file",
    }
