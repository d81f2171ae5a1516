"""Which steps of an episode the pictures of a video show."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

MAX_PICTURES = 108_000
"""Longest episode of ale-py, in frames."""
_EPSILON = np.finfo(np.float32).eps


def moviepy_indices(n: int, fps: Fraction) -> npt.NDArray[np.int64]:
    """Return the index of the recorded picture that MoviePy 2 shows as each of n pictures: int64 of shape (n,).

    Gymnasium's RecordVideo writes its pictures by MoviePy, which compares times in single precision with times in
    double precision since NumPy 2: some pictures are shown twice in place of the next one, more of them the longer the
    video is.
    """
    times = np.arange(n) / float(fps)
    starts = times.astype(np.float32) - _EPSILON
    # A picture is shown from its start on; single precision moves it by far less than a picture.
    return np.searchsorted(starts.astype(np.float64), times, side="right") - 1


class RepeatDetector:
    """Finds out whether the pictures of a video repeat where MoviePy's do.

    Args:
        indices: `moviepy_indices` of at least as many pictures as the video has.
    """

    def __init__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self._repeats = np.diff(indices, prepend=-1) == 0
        self._previous: npt.NDArray[np.uint8] | None = None
        self._changes: tuple[list[float], list[float]] = ([], [])
        self._number = 0

    def add(self, picture: npt.NDArray[np.uint8]) -> None:
        """Add the next picture's luma: uint8 of shape (height, width)."""
        if self._previous is not None:
            change = np.abs(picture.astype(np.int16) - self._previous).mean()
            self._changes[int(self._repeats[self._number])].append(float(change))
        self._previous = picture
        self._number += 1

    @property
    def repeats(self) -> bool:
        """Whether pictures hardly change at MoviePy's repetitions, but elsewhere."""
        elsewhere, there = self._changes
        return bool(there) and bool(elsewhere) and bool(np.mean(there) < 0.2 * np.mean(elsewhere))
