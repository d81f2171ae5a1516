"""RAM bytes → network input: the very same code in training's workers, at replay and in films.

The statistics that standardising needs are kept as exact integer sums, so they do not depend on the order in which
steps were seen or on how many workers saw them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tasks.arcade.game import RAM_SIZE
from tasks.arcade.settings import FeatureSettings

Rams = npt.NDArray[np.uint8]
"""RAM of n environments or steps: uint8 of shape (n, 128)."""
FeatureArray = npt.NDArray[np.float32]

_SMALLEST_DEVIATION = 0.05
"""In units of a byte: a byte that changed once in a long while must not become an enormous input."""


@dataclass(frozen=True)
class Statistics:
    """Running sums over every RAM seen in training.

    Attributes:
        count: how many RAMs.
        total: sum of each byte, int64 of shape (128,).
        squares: sum of each byte's square, int64 of shape (128,).
    """

    count: int
    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> Self:
        return cls(0, np.zeros(RAM_SIZE, np.int64), np.zeros(RAM_SIZE, np.int64))

    def updated(self, rams: Rams) -> Statistics:
        """With the RAMs of one more rollout, uint8 of shape (n, 128)."""
        wide = rams.astype(np.int64)
        return Statistics(
            self.count + len(rams), self.total + wide.sum(axis=0), self.squares + np.square(wide).sum(axis=0)
        )

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each byte, shape (128,); 0 before anything was seen."""
        return self.total / max(self.count, 1)

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each byte, shape (128,), at least 0.05; 1 before anything was seen."""
        if self.count == 0:
            return np.ones(RAM_SIZE)
        # Integers: the difference of two large, nearly equal numbers loses nothing.
        scaled = self.count * self.squares - self.total * self.total
        return np.maximum(np.sqrt(scaled) / self.count, _SMALLEST_DEVIATION)

    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """As plain arrays, for a checkpoint."""
        return {"count": np.array([self.count], np.int64), "total": self.total, "squares": self.squares}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.int64]]) -> Self:
        """From what `arrays` gave.

        Raises:
            ValueError: arrays are missing or of another shape.
        """
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != {"count": (1,), "total": (RAM_SIZE,), "squares": (RAM_SIZE,)}:
            raise ValueError(f"feature statistics have the arrays {shapes}, not a count and two sums of 128 bytes")
        return cls(int(arrays["count"][0]), arrays["total"], arrays["squares"])


class Features:
    """Turns RAM into network input; a pure function of the RAM and the RAM one step before.

    Attributes:
        size: number of features.
    """

    def __init__(self, settings: FeatureSettings, statistics: Statistics) -> None:
        self._settings = settings
        self.size = feature_size(settings)
        self._mean = statistics.mean.astype(np.float32)
        self._inverse = (1.0 / statistics.deviation).astype(np.float32)

    def __call__(self, rams: Rams, previous: Rams) -> FeatureArray:
        """Features of n RAMs.

        Args:
            rams: uint8 of shape (n, 128).
            previous: the RAMs one step before, same shape; at an episode's start the RAM itself.

        Returns:
            float32 of shape (n, size).
        """
        match self._settings.kind:
            case "scaled":
                return rams.astype(np.float32) * np.float32(1 / 255)
            case "bits":
                return np.unpackbits(np.concatenate([rams, previous], axis=1), axis=1).astype(np.float32)
            case "standardised":
                return self._standardised(rams, previous)

    def _standardised(self, rams: Rams, previous: Rams) -> FeatureArray:
        out = np.empty((len(rams), self.size), np.float32)
        np.subtract(rams, self._mean, out=out[:, :RAM_SIZE])
        out[:, :RAM_SIZE] *= self._inverse
        # Counters wrap at 256: 255 → 0 is a step of one, not of minus 255.
        out[:, RAM_SIZE:] = (rams - previous).view(np.int8)
        out[:, RAM_SIZE:] *= np.float32(1 / self._settings.difference_scale)
        clip = np.float32(self._settings.clip)
        return np.clip(out, -clip, clip, out=out)


def feature_size(settings: FeatureSettings) -> int:
    """How many inputs the network has."""
    return {"scaled": RAM_SIZE, "standardised": 2 * RAM_SIZE, "bits": 16 * RAM_SIZE}[settings.kind]
