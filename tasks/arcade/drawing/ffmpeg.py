"""The ffmpeg executable of imageio-ffmpeg: its path, its version, and why a process of it failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from typing import IO

import imageio_ffmpeg

from tasks.arcade.drawing.video_format import VideoError

TIMEOUT_SECONDS = 120.0
"""How long ffmpeg may accept no frame, or not exit after the last one, before it counts as hung."""
FFMPEG_ADVICE = "unset IMAGEIO_FFMPEG_EXE, or set it to an ffmpeg of version 5.1 or newer with libx264"
_OLDEST_RELEASE = (5, 1)
"""Older releases are untested. A version that is a date or a commit is accepted."""


@dataclass(frozen=True)
class Ffmpeg:
    """An ffmpeg executable that runs.

    Attributes:
        path: Path of the executable.
        version: Version as reported by `ffmpeg -version`, for example `7.1`.
    """

    path: str
    version: str


def find_ffmpeg() -> Ffmpeg:
    """Return the ffmpeg that encodes videos: the one `IMAGEIO_FFMPEG_EXE` names, else that of imageio-ffmpeg.

    Raises:
        VideoError: No ffmpeg was found, or it does not run, or it is too old.
    """
    try:
        path = str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise VideoError(f"no ffmpeg was found: {str(error).splitlines()[0]}") from None
    return _probe(path)


@cache
def _probe(path: str) -> Ffmpeg:
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise VideoError(f"ffmpeg cannot be started ({error}): {FFMPEG_ADVICE}") from None
    output = done.stdout.split()
    if output[:2] != ["ffmpeg", "version"] or not output[2:]:
        raise VideoError(f"{path} is not ffmpeg: {FFMPEG_ADVICE}")
    release = re.match(r"n?(\d+)\.(\d+)", output[2])
    if release and tuple(map(int, release.groups())) < _OLDEST_RELEASE:
        raise VideoError(f"{path} is ffmpeg {output[2]}, which is too old: {FFMPEG_ADVICE}")
    return Ffmpeg(path, output[2])


def open_error_log() -> IO[bytes]:
    """Open a file for ffmpeg's standard error, in memory where the system supports it: the disk may be full."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("ramreel-ffmpeg"), "w+b", buffering=0)
    return tempfile.TemporaryFile()


def exit_reason(process: subprocess.Popen[bytes], error_log: IO[bytes]) -> str:
    """Return why an ffmpeg that stopped reading exited: its status or signal, and its last line of error output."""
    try:
        status = process.wait(TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return "ffmpeg stopped reading but did not exit"
    error_log.seek(0)
    lines = error_log.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no error output")
    if status < 0:
        return f"ffmpeg was killed by signal {-status} ({signal.strsignal(-status)}): {last}"
    return f"ffmpeg exited with status {status}: {last}"
