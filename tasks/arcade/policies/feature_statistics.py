"""Running statistics of RAM, from which standardized features are computed.

They are exact integer sums, so they depend neither on the order in which steps were collected nor on the number of
workers that collected them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.legacy import current_arrays

Rams = npt.NDArray[np.uint8]
"""RAM of n environments or steps: uint8 of shape (n, 128)."""

_SMALLEST_DEVIATION = 0.05
"""Lower bound in units of a byte: a byte that hardly ever changes must not become an enormous input."""

_MOST_ACTIONS = 18
_LONGEST_MOVE = 32
"""A larger change between two steps counts as a jump: a new episode, or another object in the same byte."""


@dataclass(frozen=True)
class WarmupStatistics:
    """Exact sums over the first rollouts, from which the moving bytes are selected.

    Attributes:
        count: number of RAMs.
        total: sum of each byte, int64 of shape (128,).
        products: sum of the products of each pair of bytes, int64 of shape (128, 128).
        actions: number of times each action was taken, int64 of shape (18,).
        moved: sum of each byte's differences modulo 256 after each action, int64 of shape (18, 128).
        moved_squares: sum of their squares over all actions, int64 of shape (128,).
        changes: number of changes of each byte without a jump, int64 of shape (128,).
        jumps: number of jumps of each byte, int64 of shape (128,).
    """

    count: int
    total: npt.NDArray[np.int64]
    products: npt.NDArray[np.int64]
    actions: npt.NDArray[np.int64]
    moved: npt.NDArray[np.int64]
    moved_squares: npt.NDArray[np.int64]
    changes: npt.NDArray[np.int64]
    jumps: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> Self:
        return cls(0, **{name: np.zeros(shape, np.int64) for name, shape in _WARMUP_SHAPES.items()})

    def updated(self, rams: Rams, actions: npt.NDArray[np.int64]) -> WarmupStatistics:
        """Return the sums including a rollout: uint8 (n_steps, n_envs, 128) and int64 (n_steps, n_envs)."""
        moves = (rams[1:] - rams[:-1]).view(np.int8).reshape(-1, RAM_SIZE).astype(np.float64)
        jumps = np.abs(moves) > _LONGEST_MOVE
        moves[jumps] = 0
        taken = actions[:-1].reshape(1, -1) == np.arange(_MOST_ACTIONS)[:, None]
        # Integers far below 2**53: float64 matrix products are exact, whatever the order of summation.
        wide = rams.reshape(-1, RAM_SIZE).astype(np.float64)
        return WarmupStatistics(
            self.count + len(wide),
            self.total + wide.sum(axis=0).astype(np.int64),
            self.products + (wide.T @ wide).astype(np.int64),
            self.actions + taken.sum(axis=1),
            self.moved + (taken.astype(np.float64) @ moves).astype(np.int64),
            self.moved_squares + np.square(moves).sum(axis=0).astype(np.int64),
            self.changes + (moves != 0).sum(axis=0),
            self.jumps + jumps.sum(axis=0),
        )

    def moving_bytes(self, most: int) -> tuple[int, ...]:
        """Return up to `most` bytes that move smoothly, as positions do: those controlled by the actions first.

        The others follow by how often they change. Counters (constant increments) are left out, and all but one of a
        group of highly correlated bytes.
        """
        mean, moves = self.total / self.count, max(int(self.actions.sum()), 1)
        covariance = self.products / self.count - np.outer(mean, mean)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-9))
        alike = np.abs(covariance / np.outer(deviation, deviation))
        changes, drift = self.changes / moves, self.moved.sum(axis=0) / moves
        speed = self.moved_squares / moves
        variance = speed - np.square(drift)
        lively = (changes > 0.15) & (deviation > 6) & (variance > 0.5)
        smooth = lively & (speed < 0.3 * np.square(deviation)) & (self.jumps < 0.2 * self.changes)
        by_action = self.moved / np.maximum(self.actions, 1)[:, None] - drift
        control = (self.actions[:, None] / moves * np.square(by_action)).sum(axis=0) / np.maximum(variance, 1e-9)
        chosen: list[int] = []
        for byte in np.argsort(-changes, kind="stable"):
            if smooth[byte] and all(alike[byte, other] < 0.99 for other in chosen):
                chosen.append(int(byte))
        led = sorted((byte for byte in chosen if control[byte] > 0.02), key=lambda byte: -control[byte])[:4]
        return tuple((led + [byte for byte in chosen if byte not in led])[:most])


_WARMUP_SHAPES: dict[str, tuple[int, ...]] = {
    "total": (RAM_SIZE,),
    "products": (RAM_SIZE, RAM_SIZE),
    "actions": (_MOST_ACTIONS,),
    "moved": (_MOST_ACTIONS, RAM_SIZE),
    "moved_squares": (RAM_SIZE,),
    "changes": (RAM_SIZE,),
    "jumps": (RAM_SIZE,),
}
_SHAPES: dict[str, tuple[int, ...]] = {
    "count": (1,),
    "total": (RAM_SIZE,),
    "squares": (RAM_SIZE,),
    "moving_bytes": (RAM_SIZE,),
    "warmup.count": (1,),
    **{f"warmup.{name}": shape for name, shape in _WARMUP_SHAPES.items()},
}


@dataclass(frozen=True)
class Statistics:
    """Running sums over every RAM observed in training, and the moving bytes selected after the warm-up.

    Attributes:
        count: number of RAMs.
        total: sum of each byte, int64 of shape (128,).
        squares: sum of each byte's square, int64 of shape (128,).
        warmup: sums from which the moving bytes are selected; no longer updated afterwards.
        moving_bytes: bytes whose pairwise gaps are features, in order; empty before they are selected.
    """

    count: int
    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]
    warmup: WarmupStatistics
    moving_bytes: tuple[int, ...] = ()

    @classmethod
    def empty(cls) -> Self:
        return cls(0, np.zeros(RAM_SIZE, np.int64), np.zeros(RAM_SIZE, np.int64), WarmupStatistics.empty())

    def updated(self, rams: Rams) -> Statistics:
        """Return the statistics including more RAMs, uint8 of shape (n, 128)."""
        wide = rams.astype(np.int64)
        return replace(
            self,
            count=self.count + len(rams),
            total=self.total + wide.sum(axis=0),
            squares=self.squares + np.square(wide).sum(axis=0),
        )

    def with_rollout(self, rams: Rams, actions: npt.NDArray[np.int64], settings: FeatureSettings) -> Statistics:
        """Return the statistics including a rollout: uint8 (n_steps, n_envs, 128) and int64 (n_steps, n_envs)."""
        new = self.updated(rams.reshape(-1, RAM_SIZE))
        if settings.moving_bytes == 0 or self.warmup.count >= settings.warmup_steps:
            return new
        new = replace(new, warmup=self.warmup.updated(rams, actions))
        if new.warmup.count < settings.warmup_steps:
            return new
        return replace(new, moving_bytes=new.warmup.moving_bytes(settings.moving_bytes))

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each byte, shape (128,); 0 before the first update."""
        return self.total / max(self.count, 1)

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each byte, shape (128,), at least 0.05; 1 before the first update."""
        if self.count == 0:
            return np.ones(RAM_SIZE)
        return np.maximum(np.sqrt(self._scaled_variance.astype(np.float64)) / self.count, _SMALLEST_DEVIATION)

    @property
    def _scaled_variance(self) -> npt.NDArray[np.object_]:
        """Variance of each byte times the square of `count`: integers, shape (128,)."""
        # Exact integers avoid cancellation between two large, nearly equal numbers; Python's, because they exceed 64
        # bits after some ten million steps.
        squares, total = self.squares.astype(object), self.total.astype(object)
        return np.asarray(self.count * squares - total * total, object)

    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return plain arrays, as a checkpoint stores them."""
        moving_bytes = np.full(RAM_SIZE, -1, np.int64)
        moving_bytes[: len(self.moving_bytes)] = self.moving_bytes
        return {
            "count": np.array([self.count], np.int64),
            "total": self.total,
            "squares": self.squares,
            "moving_bytes": moving_bytes,
            "warmup.count": np.array([self.warmup.count], np.int64),
            **{f"warmup.{name}": getattr(self.warmup, name) for name in _WARMUP_SHAPES},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.int64]]) -> Self:
        """Build statistics from the result of `arrays`.

        Raises:
            ValueError: If arrays are missing, have another shape or are not possible sums over bytes.
        """
        arrays = current_arrays(arrays)
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != _SHAPES:
            wrong = sorted(name for name in shapes.keys() | _SHAPES.keys() if shapes.get(name) != _SHAPES.get(name))
            raise ValueError(f"feature statistics do not have the expected arrays: {', '.join(wrong)}")
        warmup = WarmupStatistics(
            int(arrays["warmup.count"][0]), **{name: arrays[f"warmup.{name}"] for name in _WARMUP_SHAPES}
        )
        moving_bytes = tuple(int(byte) for byte in arrays["moving_bytes"] if byte >= 0)
        if any(byte >= RAM_SIZE for byte in moving_bytes):
            raise ValueError(f"moving byte {max(moving_bytes)} is out of range: RAM has {RAM_SIZE} bytes")
        read = cls(int(arrays["count"][0]), arrays["total"], arrays["squares"], warmup, moving_bytes)
        if read.count < 0 or (read._scaled_variance < 0).any():
            raise ValueError("feature statistics are invalid: the variance of a byte would be negative")
        return read
