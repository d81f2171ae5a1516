"""Features of one picture: counts of each color in columns and rows, and where runs of each color begin and end."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import Screen

BANDS, STRIPS = 7, 4
"""Horizontal bands within which columns are counted, and vertical strips within which rows are."""
MAX_COLORS = 15
"""Number of colors that are told apart; all others count as one."""
_RUN_LENGTHS = (2, 4, 8, 16)
"""Longest run of each bucket but the last, in pixels: a ball and a paddle of one color differ in it."""
_STATISTICS = 5
"""Per color and bucket: first column, end column, first row, last row, number of runs."""
_NOWHERE = 255
"""First column and row of a color without a run."""

PackedScreen = npt.NDArray[np.int32]
Classes = npt.NDArray[np.uint8]
FeatureVector = npt.NDArray[np.uint8]


def pack_colors(screen: Screen) -> PackedScreen:
    """Return RGB, uint8 of shape (height, width, 3), as 0xRRGGBB: int32 of shape (height, width)."""
    wide = screen.astype(np.int32)
    packed: PackedScreen = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
    return packed


class PictureFeatures:
    """Features of pictures of one size.

    Args:
        n_colors: Number of colors that are told apart; class `n_colors` stands for all others.
        size: (height, width) in pixels.

    Attributes:
        n_projections: Number of projections: pixels of each class per column of a band and per row of a strip.
        n_coordinates: Number of coordinates: extent and number of the horizontal runs of each class and length.
    """

    def __init__(self, n_colors: int, size: tuple[int, int]) -> None:
        self._height, self._width = size
        self._n_classes = n_colors + 1
        rows, columns = np.mgrid[: self._height, : self._width]
        bands, strips = rows * BANDS // self._height, columns * STRIPS // self._width
        in_bands = BANDS * self._width * self._n_classes
        self.n_projections = in_bands + STRIPS * self._height * self._n_classes
        self._column_bins = ((bands * self._width + columns) * self._n_classes).ravel()
        self._row_bins = ((strips * self._height + rows) * self._n_classes + in_bands).ravel()
        self._row_starts = (columns == 0).ravel()
        self._bucket = np.searchsorted(_RUN_LENGTHS, np.arange(self._width + 1)).astype(np.int64)
        self._n_groups = self._n_classes * (len(_RUN_LENGTHS) + 1)
        self.n_coordinates = self._n_groups * _STATISTICS

    def projections(self, classes: Classes) -> FeatureVector:
        """Return the projections of a picture's classes: uint8 of shape (n_projections,)."""
        flat = classes.ravel()
        bins = np.concatenate([self._column_bins + flat, self._row_bins + flat])
        return np.bincount(bins, minlength=self.n_projections).astype(np.uint8)

    def coordinates(self, classes: Classes) -> FeatureVector:
        """Return the coordinates of a picture's classes: uint8 of shape (n_coordinates,)."""
        flat = classes.ravel()
        starts_here = self._row_starts.copy()
        starts_here[1:] |= flat[1:] != flat[:-1]
        starts = np.flatnonzero(starts_here)
        lengths = np.diff(starts, append=flat.size)
        rows, columns = np.divmod(starts, self._width)
        groups = flat[starts] * np.int64(len(_RUN_LENGTHS) + 1) + self._bucket[lengths]
        found = np.zeros((_STATISTICS, self._n_groups), np.int64)
        found[0], found[2] = _NOWHERE, _NOWHERE
        np.minimum.at(found[0], groups, columns)
        np.maximum.at(found[1], groups, columns + lengths)
        np.minimum.at(found[2], groups, rows)
        np.maximum.at(found[3], groups, rows)
        found[4] = np.minimum(np.bincount(groups, minlength=self._n_groups), 255)
        return found.astype(np.uint8).ravel()
