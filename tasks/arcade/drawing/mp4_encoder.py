"""Pictures, and the sound that belongs to them, become an MP4: streamed to one ffmpeg, whole at the end or not there.

The only room that knows imageio-ffmpeg. It gives the ffmpeg; the process is run from here, because imageio-ffmpeg's
own writer discards ffmpeg's exit status and what it says, so a video that failed would look like one that is done.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import selectors
import signal
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

from tasks.arcade.errors import RamreelError

Picture = npt.NDArray[np.uint8]
"""I420, as encoders take it: the luma plane and two quarter planes of chroma, BT.709, limited range, one after the
other in uint8 of shape (height * 3 // 2, width), C order (tasks/arcade/drawing/canvas.py makes them)."""
Sound = npt.NDArray[np.uint8]
"""Samples of one channel, unsigned, 128 is silence: uint8 of shape (n,)."""

_PATIENCE = 120.0
"""Seconds for which ffmpeg may take no picture, or not end after the last, before it counts as dead."""
_LOOK_SECONDS = 0.5
"""Between two looks at an ffmpeg that takes nothing."""
_PIPE = 1024 * 1024
"""Bytes on their way to ffmpeg; as many as Linux lets anybody have."""
_SOUND_RATE = 32_000
"""Hz of the video's sound, the nearest of AAC's own above a console's 25,528 or 30,679."""


class VideoError(RamreelError):
    """No video was made, and no file is left; the message says why."""


@dataclass(frozen=True)
class Form:
    """What a video is made of.

    Attributes:
        width: pixels, even.
        height: pixels, even.
        rate: frames a second.
        pixel: width of a pixel as shown, over its height (the sample aspect ratio of H.264, Annex E).
        samples: of sound for each frame; 0 is a silent video.
        small: whether it is compressed as hard as a page needs that holds many, which takes longer.
    """

    width: int
    height: int
    rate: Fraction
    pixel: Fraction = Fraction(1)
    samples: int = 0
    small: bool = False


class Encoder:
    """One ffmpeg that makes one video: pictures in, and at the end a whole file or none.

    Sound waits in an unnamed file, 30 kB for a second, and is joined to the pictures at the end: an ffmpeg that reads
    both at once holds up one until it has enough of the other, how much depends on its version, and so may wait for
    ever.

    Args:
        path: the video; it appears whole or not at all. Its folder exists.
        form: size, rate, sound.
        metadata: what the container says of itself: `title`, `comment`.
        finish: called with the whole file before it appears, to add to it.

    Raises:
        VideoError: the form is impossible, or there is no ffmpeg.
    """

    def __init__(
        self,
        path: Path,
        form: Form,
        metadata: Mapping[str, str],
        finish: Callable[[Path], object] | None = None,
    ) -> None:
        if form.width % 2 or form.height % 2 or min(form.width, form.height) < 2:
            raise VideoError(f"{path.name}: a video's width and height are even: got {form.width}x{form.height}")
        self.frames = 0
        self.form = form
        self._path, self._metadata, self._finish = path, metadata, finish
        self._whole = path.with_name(f".{path.name}.{uuid4().hex}")
        self._seen = self._whole.with_suffix(".seen") if form.samples else self._whole
        self._ffmpeg = find_ffmpeg()

    def __enter__(self) -> Self:
        self._said, self._heard = notebook(), tempfile.TemporaryFile()
        self._processes: list[subprocess.Popen[bytes]] = []
        ending = () if self.form.samples else _ending(self._metadata)
        try:
            process = self._start(
                [*picture_arguments(self.form), *ending, "-f", "mp4", f"file:{self._seen}"], subprocess.PIPE
            )
        except BaseException:
            self._close()
            raise
        assert process.stdin is not None
        self._pipe = process.stdin.fileno()
        os.set_blocking(self._pipe, False)
        # As large as it may be: a picture then goes in at two or three writes. It works with a small pipe as well.
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        self._room = selectors.DefaultSelector()
        self._room.register(self._pipe, selectors.EVENT_WRITE)
        return self

    def _start(self, arguments: list[str], stdin: int | IO[bytes]) -> subprocess.Popen[bytes]:
        command = [self._ffmpeg.path, "-loglevel", "error", "-nostats", "-y", *arguments]
        try:
            # A group of its own: Ctrl-C is for this process, which then ends ffmpeg.
            process = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=self._said, bufsize=0, process_group=0
            )
        except OSError as error:
            raise self._error(f"ffmpeg cannot be started ({error}): {_ADVICE}") from None
        self._processes.append(process)
        return process

    def write(self, picture: Picture, sound: Sound | None = None) -> None:
        """Add a frame and the `form.samples` samples that are heard while it is seen.

        Raises:
            ValueError: the picture or the sound is not of the video's form.
            VideoError: ffmpeg takes no more.
        """
        samples = 0 if sound is None else len(sound)
        if picture.shape != (self.form.height * 3 // 2, self.form.width) or samples != self.form.samples:
            raise ValueError(f"frame {self.frames} is not of the video's form: {picture.shape}, {samples} samples")
        left = picture.data.cast("B")
        while left:
            try:
                left = left[os.write(self._pipe, left) :]
            except BlockingIOError:
                self._await_room()
            except BrokenPipeError:
                raise self._error(last_words(self._processes[-1], self._said)) from None
        if sound is not None:
            try:
                self._heard.write(sound.data.cast("B"))
            except OSError as error:
                raise self._error(f"its sound cannot be kept ({error.strerror})") from None
        self.frames += 1

    def _await_room(self) -> None:
        """Wait until ffmpeg takes something."""
        silent_since = time.monotonic()
        while not self._room.select(_LOOK_SECONDS):
            if self._complains:
                # One that cannot write waits for the end of what it reads before it ends itself.
                self._close_pictures()
                raise self._error(last_words(self._processes[-1], self._said))
            if time.monotonic() - silent_since >= _PATIENCE:
                raise self._error(f"ffmpeg took no picture for {_PATIENCE:.0f} s")

    @property
    def _complains(self) -> bool:
        """Whether ffmpeg has said anything; it is told to speak of errors only."""
        return os.fstat(self._said.fileno()).st_size > 0

    def _close_pictures(self) -> None:
        self._room.close()
        pictures = self._processes[0].stdin
        assert pictures is not None
        pictures.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._close_pictures()
            if error is None:
                self._end()
        finally:
            self._close()

    def _close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._said.close()
        # What is still to be written of it may not find room any more.
        with contextlib.suppress(OSError):
            self._heard.close()
        for path in (self._seen, self._whole):
            path.unlink(missing_ok=True)

    def _end(self) -> None:
        if not self.frames:
            raise self._error("it has no pictures")
        self._await()
        try:
            if self.form.samples:
                self._join()
            if self._finish:
                self._finish(self._whole)
            with self._whole.open("rb") as file:
                os.fsync(file.fileno())
            self._whole.replace(self._path)
        except OSError as error:
            raise self._error(f"the video is not there ({error.strerror})") from None

    def _join(self) -> None:
        """Sound is encoded and laid beside the pictures, which stay as they are."""
        self._heard.flush()
        self._heard.seek(0)
        sound = [*_AT_ONCE, "-f", "u8", "-ar", str(self.form.rate * self.form.samples), "-ac", "1", "-i", "pipe:0"]
        # The coder that is tried first takes five times as long.
        coded = ["-c:v", "copy", "-c:a", "aac", "-aac_coder", "fast", "-b:a", "64k", "-ar", str(_SOUND_RATE)]
        kept = ["-map", "0:v", "-map", "1:a"]
        ending = [*_ending(self._metadata), "-f", "mp4", f"file:{self._whole}"]
        self._start(["-i", f"file:{self._seen}", *sound, *kept, *coded, *ending], self._heard)
        self._await(self.frames / 100)

    def _await(self, longer: float = 0) -> None:
        """Wait until ffmpeg has ended well."""
        try:
            status = self._processes[-1].wait(_PATIENCE + longer)
        except subprocess.TimeoutExpired:
            raise self._error(f"ffmpeg did not end within {_PATIENCE + longer:.0f} s of the last picture") from None
        if status != 0:
            raise self._error(last_words(self._processes[-1], self._said))

    def _error(self, what: str) -> VideoError:
        return VideoError(f"{self._path.name}: {what} (ffmpeg {self._ffmpeg.version})")


_OLDEST = (5, 1)
"""Has what decoding asks of it; others call themselves by a date or a commit, and are tried."""
_ADVICE = "unset IMAGEIO_FFMPEG_EXE, or let it name an ffmpeg of version 5.1 or newer with libx264"


@dataclass(frozen=True)
class Ffmpeg:
    """An ffmpeg that answers; `version` is what it calls itself, e.g. `7.1`."""

    path: str
    version: str


def find_ffmpeg() -> Ffmpeg:
    """The ffmpeg that makes videos: the one that `IMAGEIO_FFMPEG_EXE` names, else the one of imageio-ffmpeg.

    Raises:
        VideoError: there is none, or it does not start.
    """
    try:
        path = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VideoError(f"there is no ffmpeg: {str(error).splitlines()[0]}") from None
    return _asked(path)


@cache
def _asked(path: str) -> Ffmpeg:
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=_PATIENCE)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise VideoError(f"ffmpeg cannot be started ({error}): {_ADVICE}") from None
    words = done.stdout.split()
    if words[:2] != ["ffmpeg", "version"] or not words[2:]:
        raise VideoError(f"{path} is no ffmpeg: {_ADVICE}")
    release = re.match(r"n?(\d+)\.(\d+)", words[2])
    if release and tuple(map(int, release.groups())) < _OLDEST:
        raise VideoError(f"{path} is ffmpeg {words[2]}, too old: {_ADVICE}")
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
    how = f"with status {status}" if status >= 0 else f"by signal {-status} ({signal.strsignal(-status)})"
    return f"ffmpeg ended {how}: {last}"


_AT_ONCE = ("-probesize", "32", "-analyzeduration", "0")
"""There is nothing to find out about raw pictures and sound."""
# A constant quantiser is both faster and smaller here than a constant rate factor, whose look-ahead gains nothing on
# pictures that mostly stand still.
_SHARP = ("-preset", "ultrafast", "-qp", "18")
# A key frame every five seconds: whoever drags the time need not wait.
_SMALL = ("-preset", "veryfast", "-crf", "30", "-g", "300")


def picture_arguments(form: Form) -> list[str]:
    """Arguments for ffmpeg: pictures come in by the pipe and are encoded."""
    shape = f"setsar={form.pixel.numerator}/{form.pixel.denominator}:max=1000"
    marks = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    return [
        *("-filter_threads", "1", *_AT_ONCE, "-f", "rawvideo", "-pix_fmt", "yuv420p"),
        *("-video_size", f"{form.width}x{form.height}", "-framerate", str(form.rate), "-i", "pipe:0"),
        *("-vf", f"{shape},{marks}"),
        # One thread, because videos are made side by side on all cores.
        *("-c:v", "libx264", *(_SMALL if form.small else _SHARP), "-threads", "1", "-pix_fmt", "yuv420p"),
    ]


def _ending(metadata: Mapping[str, str]) -> list[str]:
    """Arguments for ffmpeg: what the file says of itself is first in it, and no two runs differ."""
    said = (part for name, value in metadata.items() for part in ("-metadata", f"{name}={value}"))
    return ["-movflags", "+faststart", "-fflags", "+bitexact", *said]
