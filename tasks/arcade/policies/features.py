"""What is seen → network input: the very same code in training's workers, at replay and in videos.

The statistics that standardizing needs are kept as exact integer sums, so they do not depend on the order in which
steps were seen or on how many workers saw them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import STACK, Observation
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.legacy import current_arrays

Rams = npt.NDArray[np.uint8]
"""RAM of n environments or steps: uint8 of shape (n, 128)."""
FeatureArray = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
"""Rows of network input: uint8 where they are pixels, whose bytes would be four times as many."""

_LARGEST_GAP = 255

_SMALLEST_DEVIATION = 0.05
"""In units of a byte: a byte that changed once in a long while must not become an enormous input."""


_MOST_ACTIONS = 18
_LONGEST_MOVE = 32
"""A byte that changes by more between two steps jumped (a new episode, another object in its place)."""


@dataclass(frozen=True)
class WarmupStatistics:
    """Exact sums over the first rollouts, from which the moving bytes are chosen.

    Attributes:
        count: how many RAMs.
        total: sum of each byte, int64 of shape (128,).
        products: sum of each byte times each other, int64 of shape (128, 128).
        actions: how often each action was taken, int64 of shape (18,).
        moved: sum of each byte's wrapped differences after each action, int64 of shape (18, 128).
        moved_squares: sum of their squares over all actions, int64 of shape (128,).
        changes: how often each byte changed without a jump, int64 of shape (128,).
        jumps: how often each byte jumped, int64 of shape (128,).
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
        """With one more rollout: uint8 of shape (n_steps, n_envs, 128), int64 of shape (n_steps, n_envs)."""
        moves = (rams[1:] - rams[:-1]).view(np.int8).reshape(-1, RAM_SIZE).astype(np.float64)
        jumps = np.abs(moves) > _LONGEST_MOVE
        moves[jumps] = 0
        taken = actions[:-1].reshape(1, -1) == np.arange(_MOST_ACTIONS)[:, None]
        # Whole numbers far below 2**53: matrix products of floats are exact, whatever the order of summation.
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
        """Bytes that move smoothly, as positions do; first those that follow the actions, then the liveliest.

        Counters (always the same step) are left out, and of bytes that move alike all but one.
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
    """Running sums over every RAM seen in training, and what was chosen from the first of them.

    Attributes:
        count: how many RAMs.
        total: sum of each byte, int64 of shape (128,).
        squares: sum of each byte's square, int64 of shape (128,).
        warmup: sums from which the moving_bytes are chosen; it stands still once they are.
        moving_bytes: bytes that are compared pair by pair, in order; none before they are chosen.
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
        """With more RAMs, uint8 of shape (n, 128)."""
        wide = rams.astype(np.int64)
        return replace(
            self,
            count=self.count + len(rams),
            total=self.total + wide.sum(axis=0),
            squares=self.squares + np.square(wide).sum(axis=0),
        )

    def after(self, rams: Rams, actions: npt.NDArray[np.int64], settings: FeatureSettings) -> Statistics:
        """With one more rollout: uint8 of shape (n_steps, n_envs, 128), int64 of shape (n_steps, n_envs)."""
        new = self.updated(rams.reshape(-1, RAM_SIZE))
        if settings.moving_bytes == 0 or self.warmup.count >= settings.warmup_steps:
            return new
        new = replace(new, warmup=self.warmup.updated(rams, actions))
        if new.warmup.count < settings.warmup_steps:
            return new
        return replace(new, moving_bytes=new.warmup.moving_bytes(settings.moving_bytes))

    @property
    def mean(self) -> npt.NDArray[np.float64]:
        """Mean of each byte, shape (128,); 0 before anything was seen."""
        return self.total / max(self.count, 1)

    @property
    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation of each byte, shape (128,), at least 0.05; 1 before anything was seen."""
        if self.count == 0:
            return np.ones(RAM_SIZE)
        return np.maximum(np.sqrt(self._spread.astype(np.float64)) / self.count, _SMALLEST_DEVIATION)

    @property
    def _spread(self) -> npt.NDArray[np.object_]:
        """The variance of each byte times the square of `count`, as whole numbers, shape (128,)."""
        # Integers: the difference of two large, nearly equal numbers loses nothing. Python's own: it is larger than 64
        # bits hold after some ten million steps.
        squares, total = self.squares.astype(object), self.total.astype(object)
        return np.asarray(self.count * squares - total * total, object)

    def arrays(self) -> dict[str, npt.NDArray[np.int64]]:
        """As plain arrays, for a checkpoint."""
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
        """From what `arrays` gave.

        Raises:
            ValueError: arrays are missing or of another shape, or no bytes have such sums.
        """
        arrays = current_arrays(arrays)
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != _SHAPES:
            wrong = sorted(name for name in shapes.keys() | _SHAPES.keys() if shapes.get(name) != _SHAPES.get(name))
            raise ValueError(f"feature statistics are not those of this version: {', '.join(wrong)}")
        warmup = WarmupStatistics(
            int(arrays["warmup.count"][0]), **{name: arrays[f"warmup.{name}"] for name in _WARMUP_SHAPES}
        )
        moving_bytes = tuple(int(byte) for byte in arrays["moving_bytes"] if byte >= 0)
        if any(byte >= RAM_SIZE for byte in moving_bytes):
            raise ValueError(f"feature statistics name byte {max(moving_bytes)}: there are {RAM_SIZE}")
        read = cls(int(arrays["count"][0]), arrays["total"], arrays["squares"], warmup, moving_bytes)
        if read.count < 0 or (read._spread < 0).any():
            raise ValueError("feature statistics are no sums over bytes: a byte's variance would be negative")
        return read


class Features:
    """Turns what is seen into network input; a pure function of that and of what was seen one step before.

    Raises:
        ValueError: statistics and settings are not of one training.

    Attributes:
        size: number of features.
        of_pixels: whether they are made of pictures instead of RAM.
    """

    def __init__(self, settings: FeatureSettings, statistics: Statistics) -> None:
        self._settings = settings
        self.of_pixels = settings.kind == "pixels"
        self.size = feature_size(settings)
        self._mean = statistics.mean.astype(np.float32)
        self._inverse = (1.0 / statistics.deviation).astype(np.float32)
        if len(statistics.moving_bytes) > settings.moving_bytes:
            raise ValueError(
                f"{len(statistics.moving_bytes)} moving_bytes were chosen where settings ask for {settings.moving_bytes}"
            )
        moving_bytes = np.array(statistics.moving_bytes, np.int64)
        left, right = np.triu_indices(len(moving_bytes), 1)
        self._left, self._right = moving_bytes[left], moving_bytes[right]
        gain = np.ones(RAM_SIZE, np.float32)
        if len(moving_bytes):
            gain[:] = settings.static_byte_gain
            gain[moving_bytes] = 1
        self._gain = np.concatenate([gain, gain])
        self._of_gaps = _of_gaps(settings)

    def __call__(self, rams: Observation, previous: Observation) -> FeatureArray:
        """Features of n RAMs, or of n stacks of pictures.

        Args:
            rams: uint8 of shape (n, 128); of pixels (n, 4, 84, 84).
            previous: the RAMs one step before, same shape; at an episode's start the RAM itself. Pixels need none.

        Returns:
            float32 of shape (n, size); of pixels uint8.
        """
        match self._settings.kind:
            case "pixels":
                return rams.reshape(len(rams), -1)
            case "scaled":
                return rams.astype(np.float32) * np.float32(1 / 255)
            case "bits":
                return np.unpackbits(np.concatenate([rams, previous], axis=1), axis=1).astype(np.float32)
            case "standardized":
                return self._standardized(rams, previous)

    def _standardized(self, rams: Rams, previous: Rams) -> FeatureArray:
        out = np.zeros((len(rams), self.size), np.float32)
        bytes_, moves = out[:, :RAM_SIZE], out[:, RAM_SIZE : 2 * RAM_SIZE]
        np.subtract(rams, self._mean, out=bytes_)
        bytes_ *= self._inverse
        # Counters wrap at 256: 255 → 0 is a step of one, not of minus 255.
        moves[:] = (rams - previous).view(np.int8)
        moves *= np.float32(1 / self._settings.difference_scale)
        own, clip = out[:, : 2 * RAM_SIZE], np.float32(self._settings.clip)
        np.clip(own, -clip, clip, out=own)
        own *= self._gain
        gaps = rams[:, self._left].astype(np.intp) - rams[:, self._right]
        told = self._of_gaps[gaps + _LARGEST_GAP].transpose(0, 2, 1).reshape(len(rams), -1)
        out[:, 2 * RAM_SIZE : 2 * RAM_SIZE + told.shape[1]] = told
        return out


def _of_gaps(settings: FeatureSettings) -> npt.NDArray[np.float32]:
    """What is told of every gap from -255 to 255: float32 of shape (511, n).

    A network learns slowly what changes within a few pixels, such as where on the paddle a ball is struck: sines and
    cosines show it to it (Tancik et al. 2020, "Fourier features").
    """
    gaps, clip = np.arange(-_LARGEST_GAP, _LARGEST_GAP + 1, dtype=np.float32), np.float32(settings.clip)
    told = [np.clip(gaps * np.float32(1 / scale), -clip, clip) for scale in settings.gap_scales]
    for period in settings.gap_periods:
        turns = gaps.astype(np.float64) * (2 * np.pi / period)
        told += [np.sin(turns).astype(np.float32), np.cos(turns).astype(np.float32)]
    return np.stack(told, axis=1) if told else np.zeros((len(gaps), 0), np.float32)


def feature_size(settings: FeatureSettings) -> int:
    """How many inputs the network has."""
    pairs = settings.moving_bytes * (settings.moving_bytes - 1) // 2
    gaps = (len(settings.gap_scales) + 2 * len(settings.gap_periods)) * pairs
    sizes = {"scaled": RAM_SIZE, "standardized": 2 * RAM_SIZE + gaps, "bits": 16 * RAM_SIZE, "pixels": prod(STACK)}
    return sizes[settings.kind]
