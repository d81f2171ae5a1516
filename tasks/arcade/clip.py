"""A trace becomes a small silent film for a page: the episode's beginning, every frame, a few hundred kilobytes.

A film as `record` makes it is for watching, one by one, with all there is to see and hear. A report holds many, side
by side and in step, and has to stay small: so it draws the traces again, the game alone, and compresses harder.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from pydantic import Field

from tasks.arcade.encoder import FilmError, find_ffmpeg
from tasks.arcade.episode import Trace, difference, emulator_of, replay
from tasks.arcade.settings import Settings

_SCALE = 2
"""Pixels for one of the game: H.264 has one colour for two by two, so that the game's own stay apart."""


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
        FilmError: the game plays otherwise than the trace says, or ffmpeg failed.
    """
    emulator = emulator_of(trace)
    height, width = emulator.screen_size
    picture = np.empty((height, width, 3), np.uint8)
    frames, total, score = 0, 0.0, []
    with _encoder(path, (height, width), emulator.screen_fps) as pipe:

        def draw() -> None:
            nonlocal frames
            pipe.write(emulator.screen(picture).tobytes())
            frames += 1

        for step in replay(trace, emulator=emulator, each_frame=draw):
            if wrong := difference(step, trace):
                raise FilmError(f"{path.name}: the film would not be the trace's: other {wrong} at step {step.number}")
            if step.reward:
                total += step.reward
                score.append((step.frame, total))
            if frames >= most_frames:
                break
    return Clip(frames=frames, fps=emulator.screen_fps, score=tuple(score))


@contextmanager
def _encoder(path: Path, size: tuple[int, int], fps: float) -> Iterator[IO[bytes]]:
    """The input of an ffmpeg, for pictures of uint8 in RGB."""
    height, width = size
    scale = f"scale={_SCALE * width}:{_SCALE * height}:flags=neighbor:out_range=tv:out_color_matrix=bt709"
    command = [
        *(find_ffmpeg().path, "-loglevel", "error", "-nostats", "-y", "-filter_threads", "1"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"),
        *("-framerate", str(Fraction(fps).limit_denominator(10_000)), "-i", "pipe:0"),
        *("-vf", f"{scale},setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"),
        # A key frame every five seconds: whoever drags the time need not wait.
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "30", "-g", "300", "-threads", "1"),
        *("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-fflags", "+bitexact", "-f", "mp4", str(path)),
    ]
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, process_group=0
            )
        except OSError as error:
            raise FilmError(f"{path.name}: ffmpeg cannot be started ({error})") from None
        assert process.stdin is not None
        try:
            yield process.stdin
            process.stdin.close()
        except BrokenPipeError:
            pass
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            if sys.exception():
                process.kill()
            status = process.wait()
        if status != 0:
            raise FilmError(f"{path.name}: ffmpeg ended with status {status}: {_last_line(said)}")


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
