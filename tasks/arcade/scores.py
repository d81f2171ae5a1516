"""Returns → estimates with intervals and a verdict, after Agarwal et al. 2021 (arXiv 2108.13264).

What varies between seeds is resampled over seeds, never over episodes of one seed. A percentile bootstrap of few seeds
is too sure of itself (with two seeds it parts two equal approaches in about one comparison of three), so it draws the
interval, and an exact permutation test decides whether one approach *beats* another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

FloatArray = npt.NDArray[np.float64]
Returns = Sequence[float] | npt.NDArray[np.floating] | npt.NDArray[np.integer]
Statistic = Callable[[FloatArray], float]

CONFIDENCE = 0.95
"""Of every interval; a difference that chance makes in more than 1 - 0.95 of the cases is called undecided."""
RESAMPLES = 2000
PERMUTATIONS = 9999
"""Up to 7 seeds against 7 every permutation is tried; beyond that this many, drawn at random."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic and its 95% bootstrap interval.

    Attributes:
        value: the statistic of everything seen.
        low: lower end of the interval; none where what was seen allows none.
        high: upper end, likewise.
        n: how many episodes, or seeds, were resampled.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        """`0.98 [0.91, 1.00]`."""
        interval = "" if self.low is None else f" [{self.low:.2f}, {self.high:.2f}]"
        return f"{self.value:.2f}{interval}"


@dataclass(frozen=True, slots=True)
class Band:
    """Curves of several seeds on one grid: float64 arrays of the grid's shape, NaN where not every seed has a value."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray


def mean(returns: Returns) -> float:
    """The mean of finite returns.

    Raises:
        ValueError: no return, or one that is not finite.
    """
    return float(np.mean(_checked(returns)))


def interquartile_mean(returns: Returns) -> float:
    """The mean of the middle half: a quarter, rounded down, is cut off at either end (rliable's IQM).

    Raises:
        ValueError: no return, or one that is not finite.
    """
    # scipy.stats.trim_mean gives the same, a bootstrap of it 20 times slower.
    ordered = np.sort(_checked(returns))
    cut = len(ordered) // 4
    return float(np.mean(ordered[cut : len(ordered) - cut]))


def estimate(returns: Returns, statistic: Statistic, seed: int = 0) -> Estimate:
    """A statistic of one run's episodes, with an interval over episodes.

    One return, or returns that are all equal, have no interval. Leave copies of an episode out first
    (`without_copies`): they are no further evidence.

    Args:
        returns: one an episode, shape (n,).
        statistic: of a float64 array of shape (n,).
        seed: of the bootstrap's generator.

    Raises:
        ValueError: no return, or one that is not finite.
    """
    values = _checked(returns)
    if np.ptp(values) == 0:
        return Estimate(float(statistic(values)), None, None, len(values))
    low, high = _bootstrap((values,), lambda sample, axis: np.apply_along_axis(statistic, axis, sample), seed)
    return Estimate(float(statistic(values)), low, high, len(values))


def estimate_over_seeds(returns_by_seed: Sequence[Returns], statistic: Statistic, seed: int = 0) -> Estimate:
    """A statistic of the episodes of all seeds, with an interval over seeds: whole seeds are resampled.

    One seed says nothing about the next one: no interval, whatever its number of episodes.

    Args:
        returns_by_seed: for each seed its returns; their numbers may differ.
        statistic: of a float64 array of shape (episodes,).
        seed: of the bootstrap's generator.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    seeds = _checked_seeds(returns_by_seed)
    value = float(statistic(np.concatenate(seeds)))
    if len(seeds) < 2 or np.ptp(np.concatenate(seeds)) == 0:
        return Estimate(value, None, None, len(seeds))

    def pooled(drawn: npt.NDArray[np.intp]) -> float:
        return statistic(np.concatenate([seeds[index] for index in drawn]))

    low, high = _bootstrap((np.arange(len(seeds)),), lambda drawn, axis: np.apply_along_axis(pooled, axis, drawn), seed)
    return Estimate(value, low, high, len(seeds))


def probability_of_improvement(a: Sequence[Returns], b: Sequence[Returns], seed: int = 0) -> Estimate:
    """P(X > Y) + P(X = Y) / 2 for an episode X of a seed of `a` and an episode Y of a seed of `b`.

    Averaged over all pairs of seeds (Agarwal et al. 2021, section 4.3, the Mann-Whitney statistic); the interval
    resamples the seeds of both. No interval where one side has one seed, or where no pair of seeds differs from
    another, as when every episode of `a` is above every one of `b`.

    Args:
        a: for each seed its returns.
        b: likewise.
        seed: of the bootstrap's generator.

    Returns:
        The estimate; its `n` is the smaller number of seeds.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    wins = _wins(a, b)
    n = min(wins.shape)
    if n < 2 or np.ptp(wins) == 0:
        return Estimate(float(wins.mean()), None, None, n)
    rows, columns = np.arange(wins.shape[0]), np.arange(wins.shape[1])
    low, high = _bootstrap((rows, columns), lambda i, j, axis: _mean_of_pairs(wins, i, j, axis), seed)
    return Estimate(float(wins.mean()), low, high, n)


def permutation_p_value(a: Sequence[Returns], b: Sequence[Returns], seed: int = 0) -> float:
    """How often seeds dealt out to `a` and `b` by chance are as far from P = 0.5 as these are, two-sided.

    Exact up to 7 seeds a side. Three seeds a side never get below 0.1, four can reach 0.03. One seed on a side shows
    nothing of how much seeds differ: 1.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    wins = _wins([*a, *b], [*a, *b])
    if min(len(a), len(b)) < 2:
        return 1.0
    test = scipy.stats.permutation_test(
        (np.arange(len(a)), np.arange(len(a), len(a) + len(b))),
        lambda i, j, axis: np.abs(_mean_of_pairs(wins, i, j, axis) - 0.5),
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=500,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def verdict(name_a: str, a: Sequence[Returns], name_b: str, b: Sequence[Returns], seed: int = 0) -> str:
    """One plain sentence: which of the two is better, or that these seeds cannot tell, with what is known.

    `ppo-tuned beats ppo: P = 0.98 [0.91, 1.00], 5 seeds`;
    `3 seeds cannot tell ppo-tuned and ppo apart: P = 0.84 [0.60, 1.00], p = 0.20`;
    `1 seed cannot tell ppo-tuned and ppo apart: P = 0.93 between these runs`.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    probability = probability_of_improvement(a, b, seed)
    if probability.value < 0.5:
        return verdict(name_b, b, name_a, a, seed)
    seeds = _count(len(a)) if len(a) == len(b) else f"{len(a)} and {_count(len(b))}"
    p_value = permutation_p_value(a, b, seed)
    if p_value <= 1 - CONFIDENCE:
        return f"{name_a} beats {name_b}: P = {probability}, {seeds}"
    known = " between these runs" if probability.n == 1 else f", p = {p_value:.2f}"
    return f"{seeds} cannot tell {name_a} and {name_b} apart: P = {probability}{known}"


def distinct(digests: Iterable[str]) -> int:
    """How many different episodes there are among episodes with these RAM digests."""
    return len(set(digests))


def without_copies(returns: Returns, digests: Sequence[str]) -> FloatArray:
    """The returns of the distinct episodes, in the order of their first appearance: float64, shape (distinct,).

    Raises:
        ValueError: not as many digests as returns, no return, or one that is not finite.
    """
    values = _checked(returns)
    if len(digests) != len(values):
        raise ValueError(f"{len(values)} returns need as many RAM digests, one an episode: got {len(digests)}")
    first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
    return np.asarray(values[sorted(first.values())])


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
    last = dict(zip(_checked(steps).tolist(), _checked(values).tolist(), strict=True))
    known = sorted(last)
    return np.asarray(np.interp(points, known, [last[step] for step in known], left=np.nan, right=np.nan))


def common_grid(steps_of_each: Sequence[Returns], points: int = 300) -> FloatArray:
    """Steps to read several curves off at: all of theirs, or `points` evenly spaced ones where that is fewer."""
    union = np.unique(np.concatenate([np.asarray(steps, np.float64) for steps in (*steps_of_each, ())]))
    return union if len(union) <= points else np.linspace(union[0], union[-1], points)


def band_over_seeds(curves: Sequence[FloatArray]) -> Band:
    """Mean and range of curves on one grid, only where every seed has a value: a seed that ends makes no jump.

    Raises:
        ValueError: no curve.
    """
    if len(curves) == 0:
        raise ValueError("a band needs the curve of at least one seed: got none")
    stacked = np.stack(list(curves))
    return Band(stacked.mean(axis=0), stacked.min(axis=0), stacked.max(axis=0))


def _checked(returns: Returns) -> FloatArray:
    values = np.asarray(returns, np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"returns must be a flat list of at least one number: got shape {values.shape}")
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"returns must be finite numbers: number {wrong} of {len(values)} is {values[wrong]}")
    return values


def _checked_seeds(returns_by_seed: Sequence[Returns]) -> list[FloatArray]:
    if len(returns_by_seed) == 0:
        raise ValueError("returns of at least one seed are needed: got none")
    return [_checked(returns) for returns in returns_by_seed]


def _wins(a: Sequence[Returns], b: Sequence[Returns]) -> FloatArray:
    """P(X > Y) + P(X = Y) / 2 for every pair of seeds: shape (seeds of a, seeds of b)."""
    ordered = [np.sort(returns) for returns in _checked_seeds(b)]
    return np.array([[_share_of_wins(x, y) for y in ordered] for x in _checked_seeds(a)])


def _share_of_wins(x: FloatArray, ordered: FloatArray) -> float:
    below = np.searchsorted(ordered, x, "left").sum()
    not_above = np.searchsorted(ordered, x, "right").sum()
    return float((below + not_above) / (2 * len(x) * len(ordered)))


def _mean_of_pairs(wins: FloatArray, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp], axis: int) -> FloatArray:
    rows, columns = np.moveaxis(i, axis, -1).astype(np.intp), np.moveaxis(j, axis, -1).astype(np.intp)
    return np.asarray(wins[rows[..., :, None], columns[..., None, :]].mean(axis=(-2, -1)))


def _bootstrap(
    samples: tuple[npt.NDArray[np.float64] | npt.NDArray[np.intp], ...], statistic: Callable[..., FloatArray], seed: int
) -> tuple[float, float]:
    interval = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=100,  # 10,000 episodes are 8 MB a batch, not 160 MB at once
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _count(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"
