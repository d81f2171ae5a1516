"""Metric curves of training episodes, averaged as Stable-Baselines3 averages them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.arcade.external_runs.runs import MAX_POINTS, WINDOW, MetricCurve


def running_mean(values: Sequence[float]) -> list[float]:
    """Return the mean of the last `WINDOW` values at every value."""
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    counts = np.minimum(np.arange(1, len(values) + 1), WINDOW)
    means = (sums[1:] - sums[np.arange(1, len(values) + 1) - counts]) / counts
    return [float(mean) for mean in means]


def downsample_curve(steps: Sequence[int], values: Sequence[float]) -> MetricCurve:
    """Return at most `MAX_POINTS` evenly spread points including the last; the last value at a step counts."""
    points = sorted(dict(zip(steps, values, strict=True)).items())
    if len(points) > MAX_POINTS:
        indices = np.unique(np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int))
        points = [points[index] for index in indices]
    return tuple((int(step), float(value)) for step, value in points)
