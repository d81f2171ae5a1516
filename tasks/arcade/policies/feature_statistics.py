"""Running statistics of RAM, from which standardized features are computed.

They are exact integer sums, so they depend neither on the order in which steps were collected nor on the number of
workers that collected them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Self

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import MAX_ACTIONS
from tasks.arcade.settings.legacy import current_arrays

Rams = npt.NDArray[np.uint8]
"""RAM of n environments or steps: uint8 of shape (n, 128)."""

_SMALLEST_DEVIATION = 0.05
"""Lower bound in units of a byte: a byte that hardly ever changes must not become an enormous input."""

_LONGEST_MOVE = 32
"""A larger change between two steps counts as a jump: a new episode, or another object in the same byte."""
_N_VALUES = 256
_MIN_POSITIONS = 8
"""Fewer different values are the states of something, not its positions."""


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
        seen: the values of each byte, one bit per value, int64 of shape (128, 4).
    """

    count: int
    total: npt.NDArray[np.int64]
    products: npt.NDArray[np.int64]
    actions: npt.NDArray[np.int64]
    moved: npt.NDArray[np.int64]
    moved_squares: npt.NDArray[np.int64]
    changes: npt.NDArray[np.int64]
    jumps: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> Self:
        return cls(0, **{name: np.zeros(shape, np.int64) for name, shape in _WARMUP_SHAPES.items()})

    def updated(self, rams: Rams, actions: npt.NDArray[np.int64]) -> WarmupStatistics:
        """Return the sums including a rollout: uint8 (n_steps, n_envs, 128) and int64 (n_steps, n_envs)."""
        moves = (rams[1:] - rams[:-1]).view(np.int8).reshape(-1, RAM_SIZE).astype(np.float64)
        jumps = np.abs(moves) > _LONGEST_MOVE
        moves[jumps] = 0
        taken = actions[:-1].reshape(1, -1) == np.arange(MAX_ACTIONS)[:, None]
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
            self.seen | _value_bits(rams.reshape(-1, RAM_SIZE)),
        )

    def moving_bytes(self, most: int) -> tuple[int, ...]:
        """Return up to `most` bytes that move smoothly, as positions do: those controlled by the actions first.

        The others follow by how often they change. Counters (constant increments) are left out, and all but one of a
        group of highly correlated bytes.
        """
        chosen, controlled = self._smooth_bytes()
        return tuple((controlled + [byte for byte in chosen if byte not in controlled])[:most])

    def controlled_bytes(self, most: int) -> tuple[int, ...]:
        """Return up to `most` smoothly moving bytes that are controlled by the actions, the most controlled first."""
        return tuple(self._smooth_bytes()[1][:most])

    def position_bytes(self, most: int) -> tuple[int, ...]:
        """Return up to `most` bytes that can hold positions, also of what stands still, falls or is shot again.

        A bomb's x is constant while it falls, and jumps when the next one is dropped: by its changes it is no position.
        Those with the most different values come first. Left out are bytes of fewer than eight values, random
        generators (frequent changes, mostly jumps), counters (constant increments), and all but one of a group of
        highly correlated bytes.
        """
        all_changes = (self.changes + self.jumps) / self._moves
        is_generator = (all_changes > 0.3) & (self.jumps / self._moves > 0.3 * all_changes)
        is_counter = (all_changes > 0.9) & (self._variance < 0.5)
        n_values = np.bitwise_count(self.seen.view(np.uint64)).sum(axis=1)
        varied = (n_values >= _MIN_POSITIONS) & (self._deviation > 3) & ~is_generator & ~is_counter
        most_values_first = np.flatnonzero(varied)[np.argsort(-n_values[varied], kind="stable")]
        return tuple(_distinct(most_values_first, self._correlations)[:most])

    def _smooth_bytes(self) -> tuple[list[int], list[int]]:
        """Return the smoothly moving bytes, and those among them that are controlled by the actions."""
        moves, deviation, variance = self._moves, self._deviation, self._variance
        changes, speed = self.changes / moves, self.moved_squares / moves
        lively = (changes > 0.15) & (deviation > 6) & (variance > 0.5)
        smooth = lively & (speed < 0.3 * np.square(deviation)) & (self.jumps < 0.2 * self.changes)
        by_action = self.moved / np.maximum(self.actions, 1)[:, None] - self._drift
        control = (self.actions[:, None] / moves * np.square(by_action)).sum(axis=0) / np.maximum(variance, 1e-9)
        most_frequent_first = np.argsort(-changes, kind="stable")
        chosen = _distinct(most_frequent_first[smooth[most_frequent_first]], self._correlations)
        controlled = sorted((byte for byte in chosen if control[byte] > 0.02), key=lambda byte: -control[byte])
        return chosen, controlled[:4]

    @property
    def _moves(self) -> int:
        """Number of pairs of consecutive steps, at least 1."""
        return max(int(self.actions.sum()), 1)

    @property
    def _drift(self) -> npt.NDArray[np.float64]:
        """Mean difference of each byte between two steps, shape (128,)."""
        drift: npt.NDArray[np.float64] = self.moved.sum(axis=0) / self._moves
        return drift

    @property
    def _variance(self) -> npt.NDArray[np.float64]:
        """Variance of each byte's differences, shape (128,)."""
        variance: npt.NDArray[np.float64] = self.moved_squares / self._moves - np.square(self._drift)
        return variance

    @property
    def _covariance(self) -> npt.NDArray[np.float64]:
        mean = self.total / self.count
        covariance: npt.NDArray[np.float64] = self.products / self.count - np.outer(mean, mean)
        return covariance

    @property
    def _deviation(self) -> npt.NDArray[np.float64]:
        return np.sqrt(np.maximum(np.diag(self._covariance), 1e-9))

    @property
    def _correlations(self) -> npt.NDArray[np.float64]:
        """Absolute correlation of each pair of bytes, shape (128, 128)."""
        deviation = self._deviation
        return np.abs(self._covariance / np.outer(deviation, deviation))


def _value_bits(rams: Rams) -> npt.NDArray[np.int64]:
    """Return the values of each byte in RAM of n steps, one bit per value: int64 of shape (128, 4)."""
    seen = np.zeros((RAM_SIZE, _N_VALUES), np.bool_)
    seen[np.arange(RAM_SIZE), rams] = True
    return np.packbits(seen, axis=1).view(np.int64)


def _distinct(candidates: npt.NDArray[np.intp], alike: npt.NDArray[np.float64]) -> list[int]:
    """Return the candidates, in order, without those that are highly correlated with an earlier one."""
    chosen: list[int] = []
    for byte in candidates:
        if all(alike[byte, other] < 0.99 for other in chosen):
            chosen.append(int(byte))
    return chosen


_WARMUP_SHAPES: dict[str, tuple[int, ...]] = {
    "total": (RAM_SIZE,),
    "products": (RAM_SIZE, RAM_SIZE),
    "actions": (MAX_ACTIONS,),
    "moved": (MAX_ACTIONS, RAM_SIZE),
    "moved_squares": (RAM_SIZE,),
    "changes": (RAM_SIZE,),
    "jumps": (RAM_SIZE,),
    "seen": (RAM_SIZE, 4),
}
_SELECTIONS = ("moving_bytes", "controlled_bytes", "position_bytes")
_SHAPES: dict[str, tuple[int, ...]] = {
    "count": (1,),
    "total": (RAM_SIZE,),
    "squares": (RAM_SIZE,),
    **dict.fromkeys(_SELECTIONS, (RAM_SIZE,)),
    "warmup.count": (1,),
    **{f"warmup.{name}": shape for name, shape in _WARMUP_SHAPES.items()},
}


@dataclass(frozen=True)
class Statistics:
    """Running sums over every RAM observed in training, and the bytes selected after the warm-up.

    Attributes:
        count: number of RAMs.
        total: sum of each byte, int64 of shape (128,).
        squares: sum of each byte's square, int64 of shape (128,).
        warmup: sums from which bytes are selected; no longer updated afterwards.
        moving_bytes: bytes whose pairwise gaps are features, in order; empty before they are selected.
        controlled_bytes: bytes whose gaps to all `position_bytes` are features; empty before they are selected.
        position_bytes: bytes that can hold positions; empty before they are selected.
        values: pairs of a byte and a value that have an index (from 1), in order of their first appearance, as 256
            times the byte plus the value: int64 of shape (n,).
    """

    count: int
    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]
    warmup: WarmupStatistics
    moving_bytes: tuple[int, ...] = ()
    controlled_bytes: tuple[int, ...] = ()
    position_bytes: tuple[int, ...] = ()
    values: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

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
        if settings.value_indices:
            new = replace(new, values=_with_values(self.values, rams.reshape(-1, RAM_SIZE), settings.value_indices))
        if settings.moving_bytes == 0 or self.warmup.count >= settings.warmup_steps:
            return new
        new = replace(new, warmup=self.warmup.updated(rams, actions))
        if new.warmup.count < settings.warmup_steps:
            return new
        return replace(
            new,
            moving_bytes=new.warmup.moving_bytes(settings.moving_bytes),
            controlled_bytes=new.warmup.controlled_bytes(settings.controlled_bytes),
            position_bytes=new.warmup.position_bytes(settings.position_bytes),
        )

    @property
    def value_table(self) -> npt.NDArray[np.int64]:
        """Index of each value of each byte, from 1; 0 for values without one: int64 of shape (128, 256)."""
        table = np.zeros(RAM_SIZE * _N_VALUES, np.int64)
        table[self.values] = np.arange(1, len(self.values) + 1)
        return table.reshape(RAM_SIZE, _N_VALUES)

    @property
    def gap_pairs(self) -> npt.NDArray[np.intp]:
        """Pairs of bytes whose gaps are features, in order: shape (2, n)."""
        moving = list(combinations(self.moving_bytes, 2))
        known = {frozenset(pair) for pair in moving}
        others = [
            (controlled, byte)
            for controlled, byte in product(self.controlled_bytes, self.position_bytes)
            if controlled != byte and frozenset((controlled, byte)) not in known
        ]
        return np.array(moving + others, np.intp).reshape(-1, 2).T

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
        return {
            "count": np.array([self.count], np.int64),
            "total": self.total,
            "squares": self.squares,
            "values": self.values,
            **{name: _padded(getattr(self, name)) for name in _SELECTIONS},
            "warmup.count": np.array([self.warmup.count], np.int64),
            **{f"warmup.{name}": getattr(self.warmup, name) for name in _WARMUP_SHAPES},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.int64]]) -> Self:
        """Build statistics from the result of `arrays`.

        Raises:
            ValueError: If arrays are missing, have another shape or dtype, or are not possible sums over bytes.
        """
        current = dict(_SINCE_VERSION_0_2) | current_arrays(arrays)
        values = current.pop("values")
        if values.ndim != 1 or len(np.unique(values)) != len(values) or not _are_values(values):
            raise ValueError("feature statistics are invalid: values are not different pairs of a byte and a value")
        # No other dtype holds exact sums.
        shapes = {name: array.shape if array.dtype == np.int64 else None for name, array in current.items()}
        if shapes != _SHAPES:
            wrong = sorted(name for name in shapes.keys() | _SHAPES.keys() if shapes.get(name) != _SHAPES.get(name))
            raise ValueError(f"feature statistics do not have the expected arrays: {', '.join(wrong)}")
        warmup = WarmupStatistics(
            int(current["warmup.count"][0]), **{name: current[f"warmup.{name}"] for name in _WARMUP_SHAPES}
        )
        selections = {name: tuple(int(byte) for byte in current[name] if byte >= 0) for name in _SELECTIONS}
        for name, selected in selections.items():
            if any(byte >= RAM_SIZE for byte in selected):
                kind = name.removesuffix("s").replace("_", " ")
                raise ValueError(f"{kind} {max(selected)} is out of range: RAM has {RAM_SIZE} bytes")
        read = cls(int(current["count"][0]), current["total"], current["squares"], warmup, **selections, values=values)
        if read.count < 0 or (read._scaled_variance < 0).any():
            raise ValueError("feature statistics are invalid: the variance of a byte would be negative")
        return read


def _with_values(values: npt.NDArray[np.int64], rams: Rams, most: int) -> npt.NDArray[np.int64]:
    """Return the values and those that RAM of n steps adds, in order, up to `most`."""
    seen = np.zeros(RAM_SIZE * _N_VALUES, np.bool_)
    seen[_N_VALUES * np.arange(RAM_SIZE) + rams] = True
    seen[values] = False
    return np.concatenate([values, np.flatnonzero(seen)[: most - len(values)]])


def _are_values(values: npt.NDArray[np.int64]) -> bool:
    return values.dtype == np.int64 and bool(((values >= 0) & (values < RAM_SIZE * _N_VALUES)).all())


def _padded(selected: tuple[int, ...]) -> npt.NDArray[np.int64]:
    padded = np.full(RAM_SIZE, -1, np.int64)
    padded[: len(selected)] = selected
    return padded


_SINCE_VERSION_0_2: Mapping[str, npt.NDArray[np.int64]] = {
    "controlled_bytes": _padded(()),
    "position_bytes": _padded(()),
    "values": np.zeros(0, np.int64),
    "warmup.seen": np.zeros(_WARMUP_SHAPES["seen"], np.int64),
}
"""Arrays that checkpoints of version 0.1 do not have."""
