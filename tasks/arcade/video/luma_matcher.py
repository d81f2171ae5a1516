"""Comparison of an emulator's screen with a picture of a video, which encoding has changed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.picture_matcher import Comparison
from tasks.arcade.decoding.screen_colors import ScreenColors
from tasks.arcade.drawing.luma_reader import Luma
from tasks.arcade.emulator.emulator import Emulator, Screen
from tasks.arcade.video.verify import TOLERANCE

_BLOCK = (10, 8)
"""Height and width of a block in pixels of the game; the heights of all screens, 210 and 250, are multiples of ten."""
_LEAST_NOISE = 1.0
"""Difference of a block that is assumed to be due to encoding at least, as root mean square."""
_MEMORY = 0.95
"""Weight of the pictures so far in the mean difference."""


class ColorSpace(NamedTuple):
    """How RGB becomes luma: weights of R, G and B, scale and offset."""

    weights: tuple[float, float, float]
    scale: float
    offset: float


_WEIGHTS = ((0.299, 0.587, 0.114), (0.2126, 0.7152, 0.0722))
COLOR_SPACES = tuple(
    ColorSpace(weights, scale, offset) for weights in _WEIGHTS for scale, offset in ((219 / 255, 16.0), (1.0, 0.0))
)
"""BT.601 and BT.709 in limited and full range; encoders rarely declare which one they used."""


class LumaMatcher:
    """Matches states whose screen differs from a video's picture by no more than encoding explains.

    In every block of 10 x 8 pixels, the root mean square difference of luma must be at most a tolerance. The sum of
    squared differences orders the states that remain.

    Args:
        color_space: How the video's luma was computed.
        tolerance: Largest accepted difference of a block, of 255.

    Attributes:
        worst: Largest difference of a block's picture that was accepted by `accept` so far, as root mean square.
    """

    def __init__(self, color_space: ColorSpace, tolerance: float = TOLERANCE) -> None:
        self._colors, self._n_known, self._space = ScreenColors(), 0, color_space
        self._table: npt.NDArray[np.float32] = np.zeros(256, np.float32)
        self._tolerance, self._mean_worst = tolerance, 0.0
        self._compared: dict[bytes, Comparison] = {}
        self.worst = 0.0

    def observe(self, picture: Luma) -> None:
        """Set the picture that screens are compared with."""
        self._observed = picture
        height, width = picture.shape
        self._rows, self._columns = np.arange(0, height, _BLOCK[0]), np.arange(0, width, _BLOCK[1])
        self._least = self._worst_of_least = np.inf
        self._compared = {}

    def compare(self, emulator: Emulator) -> Comparison:
        """Compare the emulator's screen with the observed picture."""
        indices = self._colors.indices(emulator)
        # Most states share their screen with others.
        key = indices.tobytes()
        if key not in self._compared:
            self._colors.learn(emulator)
            self._compared[key] = self._compare(indices)
        return self._compared[key]

    def _compare(self, indices: Screen) -> Comparison:
        squares = np.square(self._difference(indices))
        error = float(squares.sum())
        # Without a matrix product, whose threads would cost more than they gain on so small a matrix.
        blocks = np.add.reduceat(np.add.reduceat(squares, self._rows), self._columns, axis=1)
        worst = float(blocks.max()) / (_BLOCK[0] * _BLOCK[1])
        if error < self._least:
            self._least, self._worst_of_least = error, worst
        # Encoding errors come in groups: what one picture tells is measured by its coarsest block, not by its pixels.
        noise = max(self._mean_worst, _LEAST_NOISE**2) * _BLOCK[0] * _BLOCK[1]
        return Comparison(worst <= self._tolerance**2, error, -error / (2 * noise))

    def accept(self) -> None:
        """Learn the video's noise from the best state of the observed picture."""
        worst = self._worst_of_least
        self._mean_worst = worst + _MEMORY * (self._mean_worst - worst) if self._mean_worst else worst
        self.worst = max(self.worst, worst**0.5)

    def _difference(self, indices: Screen) -> Luma:
        if self._n_known != self._colors.n_known:
            self._n_known = self._colors.n_known
            palette = self._colors.palette
            rgb = np.stack([palette >> 16, palette >> 8, palette], axis=-1) & 255
            luma = rgb @ np.array(self._space.weights) * self._space.scale + self._space.offset
            self._table = luma.astype(np.float32)
        return np.asarray(self._table.take(indices) - self._observed, np.float32)
