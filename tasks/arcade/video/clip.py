"""A trace becomes a small silent video for a page: the episode's beginning, every frame, a few hundred kilobytes.

A video as `record` makes it is for watching, one by one, with all there is to see and hear. A report holds many, side
by side and in step, and has to stay small: so it draws the traces again, the game alone, and compresses harder.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field

from tasks.arcade.drawing.mp4_encoder import Encoder, VideoError
from tasks.arcade.episodes.playing import difference, emulator_of, replay
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.render import Plain, form_of

_SCALE = 2
"""Pixels for one of the game: H.264 has one color for two by two, so that the game's own stay apart."""


class Clip(Settings):
    """What is in a clip.

    Attributes:
        frames: pictures, the reset's first; picture n shows the emulator's frame n of the episode.
        score: (frame, score from there on), wherever it changes within the clip.
    """

    frames: int
    fps: float
    score: tuple[tuple[int, float], ...] = Field(default=())


def clip(trace: Trace, path: Path, most_frames: int) -> Clip:
    """Play a trace again and write its first frames as H.264 in an MP4.

    Args:
        trace: what is drawn; every step is checked against it.
        path: the file to write; its folder exists.
        most_frames: so many at most; the step that reaches them is played to its end.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
        VideoError: the game plays otherwise than the trace says, or ffmpeg failed.
    """
    emulator = emulator_of(trace)
    look = Plain(emulator, _SCALE, _SCALE)
    form = replace(form_of(look.canvas, emulator, look.pixel, sound=False), small=True)
    total, score = 0.0, []
    with Encoder(path, form, {}) as encoder:

        def draw() -> None:
            look.draw(emulator)
            encoder.write(look.canvas.picture)

        for step in replay(trace, emulator=emulator, each_frame=draw):
            if wrong := difference(step, trace):
                raise VideoError(
                    f"{path.name}: the video would not be the trace's: other {wrong} at step {step.number}"
                )
            if step.reward:
                total += step.reward
                score.append((step.frame, total))
            if encoder.frames >= most_frames:
                break
    return Clip(frames=encoder.frames, fps=float(form.rate), score=tuple(score))
