"""Learning curves of several runs, interpolated to a common grid of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks.arcade.scores.estimates import (
    FloatArray,
    IndexArray,
    Returns,
    bootstrap,
    iqm_along_last_axis,
    validate_returns,
)


@dataclass(frozen=True, slots=True)
class Band:
    """Values on a grid with 95% confidence limits: float64 arrays of the grid's shape, NaN where undefined."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


def interpolate_curve(steps: Returns, values: Returns, grid: Returns) -> FloatArray:
    """Interpolate a learning curve linearly at the grid's steps: float64 of the grid's shape.

    NaN before the first and after the last step (no extrapolation). If a step has several values, as a resumed run
    may leave them, the last one counts.

    Raises:
        ValueError: `steps` and `values` differ in length, or one of them is not finite.
    """
    if len(steps) != len(values):
        raise ValueError(f"expected one value per step: got {len(steps)} steps and {len(values)} values")
    points = np.asarray(grid, np.float64)
    if len(steps) == 0:
        return np.full(points.shape, np.nan)
    last = dict(zip(validate_returns(steps).tolist(), validate_returns(values).tolist(), strict=True))
    known = sorted(last)
    return np.asarray(np.interp(points, known, [last[step] for step in known], left=np.nan, right=np.nan))


def common_grid(steps_of_each: Sequence[Returns], points: int = 300) -> FloatArray:
    """Return the union of all curves' steps, or `points` evenly spaced steps if the union is larger."""
    union = np.unique(np.concatenate([np.asarray(steps, np.float64) for steps in (*steps_of_each, ())]))
    return union if len(union) <= points else np.linspace(union[0], union[-1], points)


def iqm_over_seeds(curves: Sequence[FloatArray]) -> FloatArray:
    """Return the interquartile mean over seeds of curves on one grid; NaN where a seed has no value.

    Restricting it to steps that every seed reached avoids jumps where a seed ends.

    Raises:
        ValueError: no curve.
    """
    if len(curves) == 0:
        raise ValueError("expected the curve of at least one seed: got none")
    stacked = np.stack(list(curves))
    known = np.isfinite(stacked).all(axis=0)
    value = np.full(known.shape, np.nan)
    value[known] = iqm_along_last_axis(stacked[:, known].T)
    return value


def band_over_seeds(curves: Sequence[FloatArray], seed: int = 0) -> Band:
    """Return `iqm_over_seeds` with its 95% interval over seeds; a single seed has no interval (NaN).

    Raises:
        ValueError: no curve.
    """
    value = iqm_over_seeds(curves)
    known = np.isfinite(value)
    low, high = (np.full(value.shape, np.nan) for _ in range(2))
    if len(curves) > 1 and known.any():
        columns = np.stack(list(curves))[:, known].T

        def statistic_of_resamples(drawn: IndexArray, axis: int) -> FloatArray:
            return iqm_along_last_axis(columns[:, np.moveaxis(drawn, axis, -1)])

        n = len(curves)
        low[known], high[known] = bootstrap((np.arange(n),), statistic_of_resamples, n, n - 1, seed)
    return Band(value, low, high)


def first_step_reaching(grid: FloatArray, values: FloatArray, level: float) -> float | None:
    """Return the first step of the grid at which a curve is at `level` or above, or None."""
    reached = np.flatnonzero(values >= level)
    return float(grid[reached[0]]) if len(reached) else None
