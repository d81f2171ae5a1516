"""Learning curves on a common grid of steps: how much was learned from how many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arcade.scores.estimates import FloatArray, IndexArray, Returns, bootstrap, checked, middle_mean


@dataclass(frozen=True, slots=True)
class Band:
    """Values on a grid with the ends of their 95% intervals: float64 arrays of the grid's shape, NaN where unknown."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


def curve_on_grid(steps: Returns, values: Returns, grid: Returns) -> FloatArray:
    """A learning curve read off at common steps, linearly between its points: float64 of the grid's shape.

    NaN before its first and after its last step; nothing is extrapolated. Of several values at one step, as a resumed
    run can leave, the last counts.

    Raises:
        ValueError: not as many steps as values, or one that is not finite.
    """
    if len(steps) != len(values):
        raise ValueError(f"a curve needs one value a step: got {len(steps)} steps and {len(values)} values")
    points = np.asarray(grid, np.float64)
    if len(steps) == 0:
        return np.full(points.shape, np.nan)
    last = dict(zip(checked(steps).tolist(), checked(values).tolist(), strict=True))
    known = sorted(last)
    return np.asarray(np.interp(points, known, [last[step] for step in known], left=np.nan, right=np.nan))


def common_grid(steps_of_each: Sequence[Returns], points: int = 300) -> FloatArray:
    """Steps to read several curves off at: all of theirs, or `points` evenly spaced ones where that is fewer."""
    union = np.unique(np.concatenate([np.asarray(steps, np.float64) for steps in (*steps_of_each, ())]))
    return union if len(union) <= points else np.linspace(union[0], union[-1], points)


def band_over_seeds(curves: Sequence[FloatArray], seed: int = 0) -> Band:
    """The interquartile mean over seeds of curves on one grid, with its 95% interval over seeds.

    Only where every seed has a value: a seed that ends makes no jump. Of one seed there is no interval: NaN.

    Raises:
        ValueError: no curve.
    """
    if len(curves) == 0:
        raise ValueError("a band needs the curve of at least one seed: got none")
    stacked = np.stack(list(curves))
    known = np.isfinite(stacked).all(axis=0)
    value, low, high = (np.full(known.shape, np.nan) for _ in range(3))
    value[known] = middle_mean(stacked[:, known].T)
    if len(curves) > 1 and known.any():
        columns = stacked[:, known].T

        def resampled(drawn: IndexArray, axis: int) -> FloatArray:
            return middle_mean(columns[:, np.moveaxis(drawn, axis, -1)])

        n = len(curves)
        low[known], high[known] = bootstrap((np.arange(n),), resampled, n, n - 1, seed)
    return Band(value, low, high)


def first_reached(grid: FloatArray, values: FloatArray, level: float) -> float | None:
    """The first step of the grid at which a curve is at a level or above; none if it never is."""
    there = np.flatnonzero(values >= level)
    return float(grid[there[0]]) if len(there) else None
