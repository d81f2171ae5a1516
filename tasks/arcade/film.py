"""A trace becomes an MP4: drawn again by the emulator, every frame, and streamed to ffmpeg.

The only room that knows imageio-ffmpeg. It gives the ffmpeg; the process is run from here, because imageio-ffmpeg's
own writer discards ffmpeg's exit status and what it says, so a film that failed would look like one that is done.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

import imageio_ffmpeg
import numpy as np
from pydantic import Field

from tasks.arcade.episode import Trace, difference, emulator_of, replay
from tasks.arcade.game import Screen
from tasks.arcade.settings import Settings

_ACROSS, _DOWN = 4, 2
"""Pixels of the film for one of the game, which is nearly twice as wide as it is high."""
_SHAPE = Fraction(4, 3)
"""Of the whole picture on a television."""
_PATIENCE = 120.0
"""Seconds for which ffmpeg may take no picture, or not end after the last, before it counts as dead."""

_PIPE = 256 * 1024
"""Bytes on their way to ffmpeg: room for two pictures saves a sixth of the time."""


class FilmError(RuntimeError):
    """No film was made, and no file is left; the message says why."""


class Film(Settings):
    """A film that was written."""

    frames: int
    width: int = Field(description="pixels stored; players stretch them, so that the whole picture is 4:3")
    height: int = Field(description="pixels stored")
    fps: float
    seconds: float


def film(trace: Trace, path: Path, *, on_frame: Callable[[int], object] | None = None) -> Film:
    """Play a trace again, draw the reset and every frame after it, and write them as H.264 in an MP4.

    The frame rate is that of the console, not Gymnasium's `render_fps`; each of the game's pixels is a sharp block of
    4 x 2; the sample aspect ratio (H.264 Annex E) makes the whole picture 4:3.

    Args:
        trace: what is drawn; every step is checked against it.
        path: the film; it appears whole or not at all. Its folder exists.
        on_frame: called after each frame with the number of frames drawn.

    Raises:
        TraceError: the trace cannot be played with what is installed here.
        FilmError: the game plays otherwise than the trace says, or ffmpeg failed.
    """
    emulator = emulator_of(trace)
    height, width = emulator.screen_size
    picture = np.empty((height, width, 3), np.uint8)
    with _Encoder(path, (height, width), emulator.screen_fps, _metadata(trace)) as encoder:

        def draw() -> None:
            encoder.write(emulator.screen(picture))
            if on_frame:
                on_frame(encoder.frames)

        for step in replay(trace, emulator=emulator, each_frame=draw):
            if wrong := difference(step, trace):
                raise FilmError(f"{path.name}: the film would not be the trace's: other {wrong} at step {step.number}")
    return Film(
        frames=encoder.frames,
        width=width * _ACROSS,
        height=height * _DOWN,
        fps=emulator.screen_fps,
        seconds=encoder.frames / emulator.screen_fps,
    )


def _metadata(trace: Trace) -> dict[str, str]:
    step = "" if trace.checkpoint_step is None else f", step {trace.checkpoint_step:,}"
    return {
        "title": f"{trace.game.env_id}{step}, return {trace.episode_return:,}",
        "comment": f"ramreel: seed {trace.seed}, RAM digest {trace.ram_digest}",
    }


class _Encoder:
    """One ffmpeg that makes one film: pictures in, and at the end a whole file or none."""

    def __init__(self, path: Path, size: tuple[int, int], fps: float, metadata: Mapping[str, str]) -> None:
        self.frames = 0
        self._path = path
        self._temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        self._command = _command(size, fps, metadata, self._temporary)

    def __enter__(self) -> Self:
        self._said = tempfile.TemporaryFile()
        try:
            # A group of its own: Ctrl-C is for this process, which then ends ffmpeg.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                bufsize=0,
                pipesize=_PIPE,
                process_group=0,
            )
        except (OSError, ValueError) as error:
            self._said.close()
            raise FilmError(
                f"{self._path.name}: ffmpeg cannot be started ({error}): unset IMAGEIO_FFMPEG_EXE, or let it name an "
                "ffmpeg with libx264"
            ) from None
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        self._room = selectors.DefaultSelector()
        self._room.register(self._pipe, selectors.EVENT_WRITE)
        return self

    def write(self, picture: Screen) -> None:
        """Add a frame, uint8 of shape (height, width, 3), RGB."""
        left = picture.data.cast("B")
        while left:
            try:
                left = left[os.write(self._pipe, left) :]
            except BlockingIOError:
                if not self._room.select(_PATIENCE):
                    raise self._error(f"ffmpeg took no picture for {_PATIENCE:.0f} s") from None
            except BrokenPipeError:
                raise self._error(self._last_words()) from None
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._room.close()
            assert self._process.stdin is not None
            self._process.stdin.close()
            if error is None:
                self._finish()
        finally:
            self._process.kill()
            self._process.wait()
            self._said.close()
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._error(f"ffmpeg did not end within {_PATIENCE:.0f} s of the last picture") from None
        if status != 0:
            raise self._error(self._last_words())
        try:
            with self._temporary.open("rb") as file:
                os.fsync(file.fileno())
            self._temporary.replace(self._path)
        except OSError as error:
            raise self._error(f"the film is not there ({error.strerror})") from None

    def _error(self, what: str) -> FilmError:
        return FilmError(f"{self._path.name}: {what}")

    def _last_words(self) -> str:
        """Why ffmpeg, which takes no more pictures, ended."""
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            return "ffmpeg takes no more pictures, but does not end"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"ffmpeg ended {f'with status {status}' if status >= 0 else f'by signal {-status}'}: {last}"


def _command(size: tuple[int, int], fps: float, metadata: Mapping[str, str], path: Path) -> list[str]:
    try:
        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise FilmError(f"there is no ffmpeg: {str(error).splitlines()[0]}") from None
    height, width = size
    across, down = width * _ACROSS, height * _DOWN
    pixel = _SHAPE * down / across
    scale = f"scale={across}:{down}:flags=neighbor:out_range=tv:out_color_matrix=bt709"
    marks = f"setsar={pixel.numerator}/{pixel.denominator}:max=1000,setparams=color_primaries=bt709:color_trc=bt709"
    return [
        *(ffmpeg, "-loglevel", "error", "-nostats", "-y", "-threads", "1", "-filter_threads", "1"),
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"),
        *("-framerate", str(Fraction(fps).limit_denominator(10_000)), "-i", "pipe:0"),
        *("-vf", f"{scale},{marks}"),
        # A constant quantiser is both faster and smaller here than a constant rate factor, whose look-ahead gains
        # nothing on pictures that mostly stand still; one thread, because films are made side by side on all cores.
        *("-c:v", "libx264", "-preset", "ultrafast", "-qp", "18", "-coder", "1", "-threads", "1"),
        *("-pix_fmt", "yuv420p", "-movflags", "+faststart"),
        *(part for name, value in metadata.items() for part in ("-metadata", f"{name}={value}")),
        *("-f", "mp4", str(path)),
    ]
