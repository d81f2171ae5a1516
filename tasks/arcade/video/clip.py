"""Clips: small silent videos of an episode's beginning, for report pages.

A recorded video shows and plays everything. A report embeds many videos that play in sync and must stay small, so their
traces are rendered again: the game alone, compressed harder, a few hundred kilobytes each.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field

from tasks.arcade.drawing.images import encode_png
from tasks.arcade.drawing.mp4_encoder import Mp4Encoder
from tasks.arcade.episodes.playing import emulator_for_trace, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.render import PlainRenderer, check_step, video_format

_SCALE = 2
"""Pixels per pixel of the game: H.264 stores one color for 2 x 2 pixels, so the game's own colors do not mix."""


class RenderedClip(Settings):
    """A clip that was written.

    Attributes:
        frames: Number of frames, the reset's included; frame n shows emulated frame n of the episode.
        fps: Frames per second.
        score: (frame, score from that frame on) for each change of the score.
        poster: Screen in the middle of the clip, as PNG: the first one is often empty.
    """

    frames: int
    fps: float
    score: tuple[tuple[int, float], ...] = Field(default=())
    poster: bytes = Field(min_length=1, repr=False)


def render_clip(trace: Trace, path: Path, max_frames: int) -> RenderedClip:
    """Replay a trace and write its first frames as an MP4 (H.264).

    Args:
        trace: The trace; every step is compared with it.
        path: Path of the file, in a folder that exists.
        max_frames: Number of frames to write; the last step is completed.

    Raises:
        TraceError: The trace cannot be replayed with the installed ale-py.
        VideoError: The replay differs from the trace, or ffmpeg failed.
    """
    emulator = emulator_for_trace(trace)
    renderer = PlainRenderer(emulator, _SCALE, _SCALE)
    clip_format = replace(
        video_format(renderer.canvas, emulator, renderer.sample_aspect_ratio, sound=False), compact=True
    )
    total, score, poster = 0.0, [], b""
    middle = min(max_frames, trace.frames + 1) // 2
    with Mp4Encoder(path, clip_format, {}) as encoder:

        def draw() -> None:
            nonlocal poster
            renderer.draw(emulator)
            if encoder.frames == middle:
                poster = encode_png(emulator.screen())
            encoder.write(renderer.canvas.frame)

        for step in replay(trace, emulator=emulator, on_frame=draw):
            check_step(step, trace, path.name)
            if step.reward:
                total += step.reward
                score.append((step.frame, total))
            if encoder.frames >= max_frames:
                break
    return RenderedClip(frames=encoder.frames, fps=float(clip_format.frame_rate), score=tuple(score), poster=poster)
