"""A video's pictures, as they come out of it again."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tasks.arcade.drawing.mp4_encoder import Picture, VideoError, find_ffmpeg, last_words, notebook

# YUV4MPEG2's head, as ffmpeg writes it; A is the sample aspect ratio.
_HEAD = re.compile(rb"YUV4MPEG2 W(\d+) H(\d+) F(\d+):(\d+) \S+ A(\d+):(\d+) C420\S*.*\n")


@dataclass(frozen=True)
class Shown:
    """What a video's file says of its pictures: pixels, frames a second, width of a pixel over its height."""

    width: int
    height: int
    rate: Fraction
    pixel: Fraction


class Decoder:
    """One ffmpeg that decodes one video, picture by picture; iterate over it once.

    Every picture is the same array, written anew. Raises VideoError where ffmpeg fails, at the start or in the middle.

    Attributes:
        shown: what the file says of its pictures.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._command = [
            *(find_ffmpeg().path, "-loglevel", "error", "-nostats", "-nostdin"),
            # A stranger's video is an MP4 and nothing else: no list of other files or addresses to be read.
            *("-protocol_whitelist", "file", "-f", "mp4", "-i", f"file:{path}", "-map", "0:v:0"),
            *("-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "pipe:1"),
        ]

    def __enter__(self) -> Self:
        self._said = notebook()
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=self._said, stdin=subprocess.DEVNULL, process_group=0
        )
        assert isinstance(self._process.stdout, io.BufferedReader)
        self._pipe = self._process.stdout
        try:
            self.shown = self._head()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _head(self) -> Shown:
        if (match := _HEAD.fullmatch(self._pipe.readline())) is None:
            raise self._error("there are no pictures in it")
        width, height, *ratios = map(int, match.groups())
        # An aspect of 0:0 is an unknown one.
        return Shown(width, height, Fraction(*ratios[:2]), Fraction(*ratios[2:]) if ratios[3] else Fraction(1))

    def __iter__(self) -> Iterator[Picture]:
        picture = np.empty((self.shown.height * 3 // 2, self.shown.width), np.uint8)
        while head := self._pipe.readline():
            if not head.startswith(b"FRAME") or self._pipe.readinto(picture.data.cast("B")) != picture.nbytes:
                raise self._error("it ends in the middle of a picture")
            yield picture
        if self._process.wait() != 0:
            raise self._error("it cannot be decoded")

    def _error(self, what: str) -> VideoError:
        return VideoError(f"{self._path.name}: {what}: {last_words(self._process, self._said)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._said.close()
