"""Decoder of a video's frames, by PyAV.

H.264 decoding is specified bit-for-bit, so every decoder returns the same frames; this one takes a third of the CPU
time of piping them from the ffmpeg executable. imageio's PyAV plugin is not used because it returns converted images
only, not the planes of I420.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.sidedata.sidedata import Type

from tasks.arcade.drawing.video_format import I420Frame, VideoError

_PIXEL_FORMAT = "yuv420p"
_FRAMES_PER_COLLECTION = 64
_FRAMES_PER_FULL_COLLECTION = 4096


@dataclass(frozen=True)
class VideoStreamInfo:
    """Video stream as declared by the file.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        frame_rate: Frames per second.
        sample_aspect_ratio: Displayed width of a pixel divided by its height.
    """

    width: int
    height: int
    frame_rate: Fraction
    sample_aspect_ratio: Fraction


class Mp4Decoder:
    """Context manager that decodes the first video stream of an MP4; iterate over it once.

    Args:
        path: The video.

    Attributes:
        stream: What the file declares about its video stream.

    Raises:
        VideoError: The file is not a video, or decoding fails midway.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            # An untrusted file is opened as an MP4 and nothing else: no playlist of other files or addresses.
            self._container = av.open(
                f"file:{self._path}", format="mp4", metadata_errors="replace", options={"protocol_whitelist": "file"}
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._error(error) from None
        try:
            self.stream = self._read_stream_info()
        except BaseException:
            self._container.close()
            raise
        return self

    def _read_stream_info(self) -> VideoStreamInfo:
        if not self._container.streams.video:
            raise VideoError(f"{self._path.name}: the file has no video stream")
        stream = self._container.streams.video[0]
        # One thread: videos are verified side by side, and more threads cost CPU time.
        stream.thread_type, stream.thread_count = "NONE", 1
        if stream.guessed_rate is None or not stream.width or not stream.height:
            raise VideoError(f"{self._path.name}: the video stream has no frames")
        return VideoStreamInfo(
            stream.width, stream.height, stream.guessed_rate, stream.sample_aspect_ratio or Fraction(1)
        )

    def __iter__(self) -> Iterator[I420Frame]:
        info = self.stream
        try:
            for number, frame in enumerate(self._container.decode(self._container.streams.video[0])):
                # A frame and its side data refer to each other: without collections every frame would stay in memory.
                # The frame that is in use during a collection is left to the next full one.
                if number % _FRAMES_PER_COLLECTION == 0:
                    gc.collect(2 if number % _FRAMES_PER_FULL_COLLECTION == 0 else 0)
                if (frame.width, frame.height, frame.format.name) != (info.width, info.height, _PIXEL_FORMAT):
                    raise VideoError(
                        f"{self._path.name}: a frame is {frame.format.name}, {frame.width}x{frame.height}, "
                        f"instead of {_PIXEL_FORMAT}, {info.width}x{info.height}"
                    )
                if Type.DISPLAYMATRIX in frame.side_data:
                    raise VideoError(f"{self._path.name}: the video is displayed rotated or flipped")
                yield np.asarray(frame.to_ndarray(), np.uint8)
        except av.FFmpegError as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or error
        return VideoError(f"{self._path.name}: the video cannot be decoded: {reason}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._container.close()
