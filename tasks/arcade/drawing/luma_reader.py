"""Reader of the luma of any video of a game's screen, at the game's own resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from tasks.arcade.drawing.video_format import VideoError

Luma = npt.NDArray[np.float32]
"""Luma of a screen as encoded, 0 to 255: float32 of shape (height, width)."""
Resampler = Callable[[npt.NDArray[np.uint8]], Luma]

_CONTAINERS = (("mov,mp4", 4, b"ftyp"), ("matroska", 0, b"\x1a\x45\xdf\xa3"), ("avi", 0, b"RIFF"), ("gif", 0, b"GIF8"))
"""Container, and the bytes at an offset that tell it. An untrusted file is opened as one of these and nothing else: no
playlist of other files or addresses."""
_MAX_SIDE = 4096


class LumaReader:
    """Context manager that decodes the first video stream of an MP4, Matroska, AVI or GIF file; iterate over it once.

    Args:
        path: The video.

    Attributes:
        size: (height, width) of its pictures in pixels.
        frame_rate: Frames per second.

    Raises:
        VideoError: The file is not such a video, or decoding fails midway.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            with self._path.open("rb") as file:
                head = file.read(16)
            container = next((name for name, at, magic in _CONTAINERS if head[at:].startswith(magic)), None)
            if container is None:
                raise VideoError(f"{self._path} is not a video: expected MP4, Matroska, AVI or GIF")
            self._container = av.open(
                f"file:{self._path}",
                format=container.partition(",")[0],
                metadata_errors="replace",
                options={"protocol_whitelist": "file"},
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._error(error) from None
        try:
            self._read_stream_info()
        except BaseException:
            self._container.close()
            raise
        return self

    def _read_stream_info(self) -> None:
        if not self._container.streams.video:
            raise VideoError(f"{self._path} has no video stream")
        stream = self._container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        if not (0 < stream.width <= _MAX_SIDE and 0 < stream.height <= _MAX_SIDE):
            raise VideoError(f"{self._path}: the video is {stream.width}x{stream.height}")
        self.size = (stream.height, stream.width)
        self.frame_rate = stream.guessed_rate or Fraction(0)

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        try:
            for frame in self._container.decode(self._container.streams.video[0]):
                if (frame.height, frame.width) != self.size:
                    raise VideoError(f"{self._path}: the size of the pictures changes")
                yield _luma(frame)
        except (av.FFmpegError, ValueError) as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or error
        return VideoError(f"{self._path} cannot be read as a video: {reason}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._container.close()


def _luma(frame: VideoFrame) -> npt.NDArray[np.uint8]:
    """Return the luma plane of a frame, or that of its conversion: uint8 of shape (height, width)."""
    if not frame.format.name.startswith(("yuv420p", "yuv422p", "yuv444p", "yuvj", "nv12", "gray")):
        frame = frame.reformat(format="gray")
    if any(component.bits != 8 for component in frame.format.components):
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return np.array(rows[: frame.height, : frame.width], np.uint8)


def resamplers(size: tuple[int, int], native: tuple[int, int]) -> list[Resampler]:
    """Return the ways in which pictures of a video may be brought back to the game's resolution.

    Args:
        size: (height, width) of the video.
        native: (height, width) of the game's screen.

    Returns:
        One per way of scaling that encoders use: repeated pixels, and bicubic interpolation as ffmpeg does it. Empty if
        the video is smaller than the game's screen.
    """
    if size == native:
        return [lambda picture: picture.astype(np.float32)]
    if size[0] < native[0] or size[1] < native[1]:
        return []
    found: list[Resampler] = []
    if size[0] % native[0] == 0 and size[1] % native[1] == 0:
        found.append(_block_mean(native))
    rows = np.linalg.pinv(_bicubic(size[0], native[0])).astype(np.float32)
    columns = np.linalg.pinv(_bicubic(size[1], native[1])).T.astype(np.float32)
    found.append(lambda picture: np.asarray(rows @ picture.astype(np.float32) @ columns))
    return found


def _block_mean(native: tuple[int, int]) -> Resampler:
    height, width = native

    def resample(picture: npt.NDArray[np.uint8]) -> Luma:
        blocks = picture.reshape(height, picture.shape[0] // height, width, -1)
        return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))

    return resample


def _bicubic(n_out: int, n_in: int) -> npt.NDArray[np.float64]:
    """Return ffmpeg's bicubic interpolation as a matrix of shape (n_out, n_in), measured by impulses."""
    if n_out == n_in:
        return np.eye(n_in)
    dark, bright, width = 50, 200, 16
    weights = np.zeros((n_out, n_in))
    for index in range(n_in):
        impulse = np.full((n_in, width), dark, np.uint8)
        impulse[index] = bright
        frame = VideoFrame.from_ndarray(impulse, format="gray")
        scaled = frame.reformat(width, n_out, format="gray", interpolation="BICUBIC")
        weights[:, index] = (_luma(scaled)[:, width // 2].astype(np.float64) - dark) / (bright - dark)
    return weights
