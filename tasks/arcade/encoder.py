"""Pictures, and the sound that belongs to them, become an MP4: streamed to one ffmpeg, whole at the end or not there.

The only room that knows imageio-ffmpeg. It gives the ffmpeg; the process is run from here, because imageio-ffmpeg's
own writer discards ffmpeg's exit status and what it says, so a film that failed would look like one that is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from uuid import uuid4

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""I420, as encoders take it: the luma plane and two quarter planes of chroma, BT.709, limited range, one after the
other in uint8 of shape (height * 3 // 2, width), C order (tasks/arcade/canvas.py makes them)."""
Sound = npt.NDArray[np.uint8]
"""Samples of one channel, unsigned, 128 is silence: uint8 of shape (n,)."""

_PATIENCE = 120.0
"""Seconds for which ffmpeg may take no picture, or not end after the last, before it counts as dead."""
_LOOK_SECONDS = 0.5
"""Between two looks at an ffmpeg that takes nothing."""
_PIPE = 1024 * 1024
"""Bytes on their way to ffmpeg; as many as Linux lets anybody have."""
_SOUND_RATE = 32_000
"""Hz of the film's sound, the nearest of AAC's own above a console's 25,528 or 30,679."""


class FilmError(RuntimeError):
    """No film was made, and no file is left; the message says why."""


@dataclass(frozen=True)
class Form:
    """What a film is made of.

    Attributes:
        width: pixels, even.
        height: pixels, even.
        rate: frames a second.
        pixel: width of a pixel as shown, over its height (the sample aspect ratio of H.264, Annex E).
        samples: of sound for each frame; 0 is a silent film.
    """

    width: int
    height: int
    rate: Fraction
    pixel: Fraction = Fraction(1)
    samples: int = 0


class Encoder:
    """One ffmpeg that makes one film: pictures in, and at the end a whole file or none.

    Args:
        path: the film; it appears whole or not at all. Its folder exists.
        form: size, rate, sound.
        metadata: what the container says of itself: `title`, `comment`.
        finish: called with the whole file before it appears, to add to it.

    Raises:
        FilmError: the form is impossible, or there is no ffmpeg.
    """

    def __init__(
        self,
        path: Path,
        form: Form,
        metadata: Mapping[str, str],
        finish: Callable[[Path], object] | None = None,
    ) -> None:
        if form.width % 2 or form.height % 2 or min(form.width, form.height) < 2:
            raise FilmError(f"{path.name}: a film's width and height are even: got {form.width}x{form.height}")
        self.frames = 0
        self.form = form
        self._path, self._finish = path, finish
        self._temporary = path.with_name(f".{path.name}.{uuid4().hex}")
        self._ffmpeg, self._metadata = find_ffmpeg(), metadata

    def __enter__(self) -> Self:
        self._said = notebook()
        self._heard = os.pipe() if self.form.samples else None
        try:
            # A group of its own: Ctrl-C is for this process, which then ends ffmpeg.
            self._process = subprocess.Popen(
                _command(self._ffmpeg.path, self.form, self._metadata, self._heard and self._heard[0], self._temporary),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                bufsize=0,
                pass_fds=self._heard[:1] if self._heard else (),
                process_group=0,
            )
        except OSError as error:
            self._said.close()
            for end in self._heard or ():
                os.close(end)
            raise self._error(f"ffmpeg cannot be started ({error}): {_ADVICE}") from None
        assert self._process.stdin is not None
        self._pictures = _Pipe(self._process.stdin.fileno())
        self._sound = None
        if self._heard:
            os.close(self._heard[0])
            self._sound = _Pipe(self._heard[1])
        return self

    def write(self, picture: Picture, sound: Sound | None = None) -> None:
        """Add a frame and the `form.samples` samples that are heard while it is seen.

        Raises:
            ValueError: the picture or the sound is not of the film's form.
            FilmError: ffmpeg takes no more.
        """
        form = self.form
        if picture.shape != (form.height * 3 // 2, form.width) or (0 if sound is None else len(sound)) != form.samples:
            raise ValueError(
                f"frame {self.frames} is not of the film's form: {picture.shape}, sound {sound is not None}"
            )
        if self._sound and sound is not None:
            self._sound.add(sound.tobytes())
        self._pictures.add(picture.data.cast("B"))
        self._push(self._pictures)
        self.frames += 1

    def _push(self, awaited: _Pipe) -> None:
        """Write until this pipe has taken everything; the other one takes meanwhile what it can."""
        pipes = [self._pictures, self._sound] if self._sound else [self._pictures]
        silent_since = time.monotonic()
        while True:
            try:
                for pipe in pipes:
                    pipe.push()
            except BrokenPipeError:
                raise self._error(last_words(self._process, self._said)) from None
            if awaited.empty:
                return
            with selectors.DefaultSelector() as room:
                for pipe in pipes:
                    if not pipe.empty:
                        room.register(pipe.descriptor, selectors.EVENT_WRITE)
                if room.select(_LOOK_SECONDS):
                    silent_since = time.monotonic()
                    continue
            if self._complains:
                # One that cannot write waits for the end of what it reads before it ends itself.
                self._close()
                raise self._error(last_words(self._process, self._said))
            if time.monotonic() - silent_since >= _PATIENCE:
                raise self._error(f"ffmpeg took no picture for {_PATIENCE:.0f} s")

    @property
    def _complains(self) -> bool:
        """Whether ffmpeg has said anything; it is told to speak of errors only."""
        return os.fstat(self._said.fileno()).st_size > 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None and self._sound:
                self._push(self._sound)
            self._close()
            if error is None:
                self._end()
        finally:
            self._close()
            self._process.kill()
            self._process.wait()
            self._said.close()
            self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._heard:
            os.close(self._heard[1])
            self._heard = None

    def _end(self) -> None:
        if not self.frames:
            raise self._error("it has no pictures")
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise self._error(f"ffmpeg did not end within {_PATIENCE:.0f} s of the last picture") from None
        if status != 0:
            raise self._error(last_words(self._process, self._said))
        try:
            if self._finish:
                self._finish(self._temporary)
            with self._temporary.open("rb") as file:
                os.fsync(file.fileno())
            self._temporary.replace(self._path)
        except OSError as error:
            raise self._error(f"the film is not there ({error.strerror})") from None

    def _error(self, what: str) -> FilmError:
        return FilmError(f"{self._path.name}: {what} (ffmpeg {self._ffmpeg.version})")


class _Pipe:
    """One end of a pipe that never blocks, and what waits to go in."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.set_blocking(descriptor, False)
        # As large as it may be: a picture then goes in at two or three writes. It works with a small pipe as well.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE)
        self._waiting: list[memoryview] = []

    @property
    def empty(self) -> bool:
        return not self._waiting

    def add(self, data: bytes | memoryview) -> None:
        self._waiting.append(memoryview(data))

    def push(self) -> None:
        """Write as much as goes in.

        Raises:
            BrokenPipeError: nobody reads any more.
        """
        while self._waiting:
            try:
                written = os.write(self.descriptor, self._waiting[0])
            except BlockingIOError:
                return
            left = self._waiting[0][written:]
            self._waiting[:1] = [left] if left else []


_ADVICE = "unset IMAGEIO_FFMPEG_EXE, or let it name an ffmpeg of version 5.1 or newer with libx264"


@dataclass(frozen=True)
class Ffmpeg:
    """An ffmpeg that answers; `version` is what it calls itself, e.g. `7.1`."""

    path: str
    version: str


def find_ffmpeg() -> Ffmpeg:
    """The ffmpeg that makes films: the one that `IMAGEIO_FFMPEG_EXE` names, else the one of imageio-ffmpeg.

    Raises:
        FilmError: there is none, or it does not start.
    """
    try:
        path = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise FilmError(f"there is no ffmpeg: {str(error).splitlines()[0]}") from None
    return _asked(path)


@cache
def _asked(path: str) -> Ffmpeg:
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise FilmError(f"ffmpeg cannot be started ({error}): {_ADVICE}") from None
    words = done.stdout.split()
    if words[:2] != ["ffmpeg", "version"] or not words[2:]:
        raise FilmError(f"{path} is no ffmpeg: {_ADVICE}")
    return Ffmpeg(path, words[2])


def notebook() -> IO[bytes]:
    """Where ffmpeg writes what went wrong: in memory where the system has that, for its disk may be full."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("ramreel-ffmpeg"), "w+b", buffering=0)
    return tempfile.TemporaryFile()


def last_words(process: subprocess.Popen[bytes], said: IO[bytes]) -> str:
    """Why ffmpeg, which does no more, ended."""
    try:
        status = process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        return "ffmpeg does no more, but does not end"
    said.seek(0)
    lines = said.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"ffmpeg ended {f'with status {status}' if status >= 0 else f'by signal {-status}'}: {last}"


def _command(ffmpeg: str, form: Form, metadata: Mapping[str, str], heard: int | None, path: Path) -> list[str]:
    sound: tuple[str, ...] = ()
    coded: tuple[str, ...] = ()
    if heard is not None:
        sound = ("-f", "u8", "-ar", str(form.rate * form.samples), "-ac", "1", "-i", f"pipe:{heard}")
        # The coder that is tried first takes five times as long, and a fifth of a film's time.
        coded = ("-c:a", "aac", "-aac_coder", "fast", "-b:a", "64k", "-ar", str(_SOUND_RATE))
    shape = f"setsar={form.pixel.numerator}/{form.pixel.denominator}:max=1000"
    marks = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    return [
        *(ffmpeg, "-loglevel", "error", "-nostats", "-y", "-filter_threads", "1"),
        *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", f"{form.width}x{form.height}"),
        *("-framerate", str(form.rate), "-i", "pipe:0", *sound),
        *("-vf", f"{shape},{marks}"),
        # A constant quantiser is both faster and smaller here than a constant rate factor, whose look-ahead gains
        # nothing on pictures that mostly stand still; one thread, because films are made side by side on all cores.
        *("-c:v", "libx264", "-preset", "ultrafast", "-qp", "18", "-coder", "1", "-threads", "1"),
        *("-pix_fmt", "yuv420p", *coded, "-movflags", "+faststart", "-fflags", "+bitexact"),
        *(part for name, value in metadata.items() for part in ("-metadata", f"{name}={value}")),
        # Whatever the file's name is, it is a file's.
        *("-f", "mp4", f"file:{path}"),
    ]
