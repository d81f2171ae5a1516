"""Estimates and tests over several seeds of one approach on one game.

Intervals come from a two-stage bootstrap: seeds are resampled, then episodes within each seed. With few seeds such
intervals are too narrow (with three seeds they may cover the true value in only 80% of cases), so an exact permutation
test of the seeds decides whether a difference is significant.

`Seeds` is one list of returns per seed; the numbers of episodes may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Literal

import numpy as np
import scipy

from tasks.arcade.scores.estimates import (
    CONFIDENCE,
    Estimate,
    FloatArray,
    IndexArray,
    Returns,
    Statistic,
    apply_to_rows,
    bootstrap,
    validate_returns,
)
from tasks.arcade.scores.learning_curves import Band

Seeds = Sequence[Returns]

PERMUTATIONS = 9999
"""Permutations are enumerated up to 7 seeds per side; beyond that at least this many are sampled."""


def validate_seeds(returns_by_seed: Seeds) -> list[FloatArray]:
    """Return the returns of each seed as float64, shapes (episodes,).

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    if len(returns_by_seed) == 0:
        raise ValueError("expected the returns of at least one seed: got none")
    return [validate_returns(returns) for returns in returns_by_seed]


class TwoStageBootstrap:
    """Resamples episodes within the seeds that scipy resampled.

    Args:
        returns_by_seed: returns of each seed.
        seed: seed of the generator that resamples episodes.
        has_duplicates: some episodes duplicate others. Duplicates say nothing about the variance between episodes, so
            each seed's episodes are then kept as they are.
    """

    def __init__(self, returns_by_seed: Seeds, seed: int, has_duplicates: bool = False) -> None:
        self.seeds = validate_seeds(returns_by_seed)
        self.values = np.concatenate(self.seeds)
        self.indices = np.arange(len(self.seeds))
        self._rng, self._has_duplicates = np.random.default_rng((seed, 1)), has_duplicates
        self._share = np.concatenate([np.full(len(one), 1 / len(one)) for one in self.seeds])

    def counts(self, drawn: IndexArray) -> FloatArray:
        """Return how often each resample holds each episode: shape (resamples, seeds) to (resamples, episodes)."""
        resamples, n_seeds = drawn.shape
        flat = drawn.astype(np.intp) + n_seeds * np.arange(resamples)[:, None]
        multiplicity = np.bincount(flat.ravel(), minlength=resamples * n_seeds).reshape(resamples, n_seeds)
        columns = []
        for index, returns in enumerate(self.seeds):
            of_seed, n = multiplicity[:, index], len(returns)
            if self._has_duplicates:
                columns.append(np.repeat(of_seed[:, None], n, axis=1))
            else:
                columns.append(self._rng.multinomial(of_seed * n, np.full(n, 1 / n)))
        return np.asarray(np.concatenate(columns, axis=1), np.float64)

    def weights(self, drawn: IndexArray) -> FloatArray:
        """Return `counts` as weights that give every drawn seed equal weight: rows of shape (episodes,), sum 1."""
        return np.asarray(self.counts(drawn) * self._share / len(self.seeds))

    def resampled_mean(self, drawn: IndexArray) -> FloatArray:
        """Return the mean of one drawn seed's resampled episodes per resample: shape (resamples,) to (resamples,)."""
        means = np.empty(len(drawn))
        for index, returns in enumerate(self.seeds):
            rows = np.flatnonzero(drawn == index)
            episodes = self._rng.integers(len(returns), size=(len(rows), len(returns)))
            means[rows] = returns[episodes].mean(axis=1)
        return means

    @property
    def sample_weights(self) -> FloatArray:
        """Weights of the original sample, shape (1, episodes)."""
        return self._share[None] / len(self.seeds)


def estimate_over_seeds(
    returns_by_seed: Seeds, statistic: Statistic, seed: int = 0, *, has_duplicates: bool = False
) -> Estimate:
    """Return a statistic of the pooled episodes of all seeds with an interval over seeds and episodes.

    A single seed has no interval, however many episodes it has.

    Args:
        returns_by_seed: returns of each seed; their numbers may differ.
        statistic: function of a float64 array of shape (episodes,).
        seed: seed of the bootstrap.
        has_duplicates: some episodes duplicate others, so only seeds are resampled.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    stages = TwoStageBootstrap(returns_by_seed, seed, has_duplicates)
    value, n = float(statistic(stages.values)), len(stages.seeds)
    if n < 2 or np.ptp(stages.values) == 0:
        return Estimate(value, None, None, n)

    def statistic_of_resamples(drawn: IndexArray, axis: int) -> FloatArray:
        counts = stages.counts(np.moveaxis(drawn, axis, -1)).astype(np.intp)
        if len(set(map(len, stages.seeds))) > 1:
            return np.array([statistic(np.repeat(stages.values, of_one)) for of_one in counts])
        rows = np.repeat(np.tile(stages.values, len(counts)), counts.ravel())
        return apply_to_rows(statistic, rows.reshape(len(counts), -1))

    low, high = bootstrap((stages.indices,), statistic_of_resamples, n, n - 1, seed)
    return Estimate(value, float(low), float(high), n)


def probability_of_improvement(a: Seeds, b: Seeds, seed: int = 0, *, has_duplicates: bool = False) -> Estimate:
    """Return P(X > Y) + P(X = Y) / 2 for an episode X of a seed of `a` and an episode Y of a seed of `b`.

    Averaged over all pairs of seeds (Agarwal et al. 2021, section 4.3: the Mann-Whitney statistic). The interval
    resamples the seeds of both sides and their episodes. There is no interval if a side has one seed or if every
    episode of one side is above every episode of the other.

    Args:
        a: returns of each seed.
        b: likewise.
        seed: seed of the bootstrap.
        has_duplicates: some episodes duplicate others, so only seeds are resampled.

    Returns:
        The estimate; its `n` is the smaller number of seeds.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    wins = WinProbability(a, b, seed, has_duplicates)
    n = min(wins.sizes)
    if n < 2 or wins.is_constant:
        return Estimate(wins.value, None, None, n)
    low, high = bootstrap(wins.samples, wins.resampled, n, sum(wins.sizes) - 2, seed)
    return Estimate(wins.value, float(low), float(high), n)


class WinProbability:
    """Probability that an episode of `a` has a higher return than one of `b`, of the sample and of its resamples."""

    def __init__(self, a: Seeds, b: Seeds, seed: int, has_duplicates: bool) -> None:
        self._a, self._b = TwoStageBootstrap(a, seed, has_duplicates), TwoStageBootstrap(b, seed + 1, has_duplicates)
        self._order = np.argsort(self._b.values, kind="stable")
        ordered = self._b.values[self._order]
        self._below = np.searchsorted(ordered, self._a.values, "left")
        self._not_above = np.searchsorted(ordered, self._a.values, "right")
        self.value = float(self._of_weights(self._a.sample_weights, self._b.sample_weights)[0])

    @property
    def samples(self) -> tuple[IndexArray, IndexArray]:
        """Seed indices of both sides, as scipy resamples them."""
        return self._a.indices, self._b.indices

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self._a.seeds), len(self._b.seeds)

    @property
    def is_constant(self) -> bool:
        """Whether all resamples have the same value: every episode wins, none wins, or all are equal."""
        a, b = self._a.values, self._b.values
        return bool(a.min() > b.max() or a.max() < b.min() or a.min() == a.max() == b.min() == b.max())

    def resampled(self, i: IndexArray, j: IndexArray, axis: int) -> FloatArray:
        """Return the probability of each resample of the seeds: shapes (resamples, seeds) to (resamples,)."""
        return self._of_weights(self._a.weights(np.moveaxis(i, axis, -1)), self._b.weights(np.moveaxis(j, axis, -1)))

    def _of_weights(self, of_a: FloatArray, of_b: FloatArray) -> FloatArray:
        cumulative = np.concatenate([np.zeros((len(of_b), 1)), np.cumsum(of_b[:, self._order], axis=1)], axis=1)
        return np.asarray((of_a * (cumulative[:, self._below] + cumulative[:, self._not_above])).sum(axis=1) / 2)


def win_matrix(a: Seeds, b: Seeds) -> FloatArray:
    """Return P(X > Y) + P(X = Y) / 2 for every pair of seeds: shape (seeds of a, seeds of b)."""
    return np.stack(list(_win_columns(a, b)), axis=1)


def _win_columns(a: Seeds, b: Seeds) -> Iterator[FloatArray]:
    """Yield the columns of `win_matrix`, each of shape (seeds of a,)."""
    rows = validate_seeds(a)
    values, sizes = np.concatenate(rows), np.array([len(row) for row in rows])
    for ordered in map(np.sort, validate_seeds(b)):
        ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
        yield np.add.reduceat(ranks, np.cumsum(sizes) - sizes) / (2 * sizes * len(ordered))


def permutation_p_value(a: Seeds, b: Seeds, seed: int = 0, *, level: float = 1 - CONFIDENCE) -> float:
    """Return the two-sided p-value of a permutation test of the seeds; the statistic is |P - 0.5|.

    Exact up to 7 seeds per side. Three seeds per side never reach p < 0.1, four can reach 0.03. With one seed on a
    side the variance between seeds is unknown: p = 1.

    Args:
        a: returns of each seed.
        b: likewise.
        seed: seed of the generator.
        level: significance level; the smaller it is, the more permutations are sampled.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    pooled = [*a, *b]
    wins = np.zeros(len(pooled))
    for column in _win_columns(pooled, pooled):
        wins += column
    n, m = len(a), len(b)
    if min(n, m) < 2:
        return 1.0

    def distance(i: IndexArray, _: IndexArray, axis: int) -> FloatArray:
        # A side wins exactly half of the pairs within itself, so the pairs across follow from the row sums. Without
        # that, a thousand episodes per side would mean a million pairs per permutation.
        of_side = wins[np.moveaxis(i, axis, -1).astype(np.intp)].sum(axis=-1)
        # Rounded, so that ties do not depend on the order of summation.
        return np.asarray(np.abs((of_side - n * n / 2) / (n * m) - 0.5).round(12))

    samples = np.arange(len(a)), np.arange(len(a), len(a) + len(b))
    return permutation_test(samples, distance, "independent", seed, level)


def permutation_test(
    samples: tuple[IndexArray, IndexArray],
    distance: Callable[..., FloatArray],
    kind: Literal["independent", "samples"],
    seed: int,
    level: float = 1 - CONFIDENCE,
) -> float:
    """Return the share of permutations whose distance is at least the observed one (scipy.stats.permutation_test).

    Args:
        samples: indices of the permuted units, each of shape (n,).
        distance: called as scipy.stats.permutation_test calls it, with `axis=-1`.
        kind: `permutation_type`: permute across both samples, or only within each pair.
        seed: seed of the generator.
        level: significance level.
    """
    test = scipy.stats.permutation_test(
        samples,
        distance,
        permutation_type=kind,
        vectorized=True,
        # With this many samples the smallest possible p-value is a tenth of the level.
        n_resamples=max(PERMUTATIONS, ceil(10 / level)),
        batch=500,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def mann_whitney_p_value(a: Returns, b: Returns) -> float:
    """Return the two-sided p-value of the Mann-Whitney U test of two agents' episodes.

    It says whether these two agents differ, not how another seed would turn out. Pass distinct episodes only. Exact
    for up to 8 episodes without ties, otherwise the normal approximation.

    Raises:
        ValueError: `a` or `b` is empty or not finite.
    """
    x, y = validate_returns(a), validate_returns(b)
    if float(np.ptp(np.concatenate([x, y]))) == 0:
        return 1.0
    return float(scipy.stats.mannwhitneyu(x, y, alternative="two-sided").pvalue)


def performance_profile(
    returns_by_seed: Seeds, thresholds: Returns, seed: int = 0, *, has_duplicates: bool = False
) -> Band:
    """Return the share of episodes whose return is above each threshold (Agarwal et al. 2021, section 4.2).

    Averaged over seeds, with a pointwise 95% interval; a single seed has no interval (NaN).

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    stages = TwoStageBootstrap(returns_by_seed, seed, has_duplicates)
    above = (stages.values[:, None] > np.asarray(thresholds, np.float64)).astype(np.float64)
    value, n = (stages.sample_weights @ above)[0], len(stages.seeds)
    if n < 2:
        return Band(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    low, high = bootstrap(
        (stages.indices,),
        lambda drawn, axis: (stages.weights(np.moveaxis(drawn, axis, -1)) @ above).T,
        n,
        n - 1,
        seed,
    )
    return Band(value, low, high)
