"""Several seeds of one approach on one game → estimates, and whether two approaches differ.

What varies between seeds is resampled over seeds, and what varies within a seed over its episodes (a bootstrap of two
stages). Even so a bootstrap of few seeds is too sure of itself: of three it may hold the truth in 8 of 10 cases only.
So it draws the interval, and an exact permutation test of the seeds decides whether one approach *beats* another.

`Seeds` below are one list of returns for each seed; the numbers of episodes may differ.
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
    bootstrap,
    checked,
    of_rows,
)
from tasks.arcade.scores.learning_curves import Band

Seeds = Sequence[Returns]

PERMUTATIONS = 9999
"""Up to 7 seeds against 7 every permutation is tried; beyond that at least this many, drawn at random."""


def checked_seeds(returns_by_seed: Seeds) -> list[FloatArray]:
    """The returns of each seed as float64, shapes (episodes,).

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    if len(returns_by_seed) == 0:
        raise ValueError("returns of at least one seed are needed: got none")
    return [checked(returns) for returns in returns_by_seed]


class Stages:
    """Draws seeds as scipy resampled them, and then episodes within each drawn seed.

    Args:
        returns_by_seed: checked.
        seed: of the generator that draws the episodes.
        copies: some episodes are copies of others: no evidence of how episodes vary, so that each seed stays whole.
    """

    def __init__(self, returns_by_seed: Seeds, seed: int, copies: bool = False) -> None:
        self.seeds = checked_seeds(returns_by_seed)
        self.values = np.concatenate(self.seeds)
        self.numbers = np.arange(len(self.seeds))
        self._rng, self._copies = np.random.default_rng((seed, 1)), copies
        self._share = np.concatenate([np.full(len(one), 1 / len(one)) for one in self.seeds])

    def counts(self, drawn: IndexArray) -> FloatArray:
        """How often each episode is in each resample: shape (resamples, seeds) to (resamples, episodes)."""
        resamples, n_seeds = drawn.shape
        places = drawn.astype(np.intp) + n_seeds * np.arange(resamples)[:, None]
        times = np.bincount(places.ravel(), minlength=resamples * n_seeds).reshape(resamples, n_seeds)
        columns = []
        for number, returns in enumerate(self.seeds):
            of_seed, n = times[:, number], len(returns)
            if self._copies:
                columns.append(np.repeat(of_seed[:, None], n, axis=1))
            else:
                columns.append(self._rng.multinomial(of_seed * n, np.full(n, 1 / n)))
        return np.asarray(np.concatenate(columns, axis=1), np.float64)

    def weights(self, drawn: IndexArray) -> FloatArray:
        """The same as shares that give every drawn seed the same weight: rows of shape (episodes,) that sum to 1."""
        return np.asarray(self.counts(drawn) * self._share / len(self.seeds))

    def one_mean(self, drawn: IndexArray) -> FloatArray:
        """The mean of one seed's episodes, drawn again within the seed: shape (resamples,) to (resamples,)."""
        means = np.empty(len(drawn))
        for number, returns in enumerate(self.seeds):
            mine = np.flatnonzero(drawn == number)
            episodes = self._rng.integers(len(returns), size=(len(mine), len(returns)))
            means[mine] = returns[episodes].mean(axis=1)
        return means

    @property
    def whole(self) -> FloatArray:
        """The weights of what was seen, shape (1, episodes)."""
        return self._share[None] / len(self.seeds)


def estimate_over_seeds(
    returns_by_seed: Seeds, statistic: Statistic, seed: int = 0, *, copies: bool = False
) -> Estimate:
    """A statistic of the episodes of all seeds together, with an interval over seeds and episodes.

    One seed says nothing about the next one: no interval, whatever its number of episodes.

    Args:
        returns_by_seed: for each seed its returns; their numbers may differ.
        statistic: of a float64 array of shape (episodes,).
        seed: of the bootstrap's generator.
        copies: some episodes are copies of others; then seeds alone are resampled.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    stages = Stages(returns_by_seed, seed, copies)
    value, n = float(statistic(stages.values)), len(stages.seeds)
    if n < 2 or np.ptp(stages.values) == 0:
        return Estimate(value, None, None, n)

    def resampled(drawn: IndexArray, axis: int) -> FloatArray:
        counts = stages.counts(np.moveaxis(drawn, axis, -1)).astype(np.intp)
        if len(set(map(len, stages.seeds))) > 1:
            return np.array([statistic(np.repeat(stages.values, of_one)) for of_one in counts])
        rows = np.repeat(np.tile(stages.values, len(counts)), counts.ravel())
        return of_rows(statistic, rows.reshape(len(counts), -1))

    low, high = bootstrap((stages.numbers,), resampled, n, n - 1, seed)
    return Estimate(value, float(low), float(high), n)


def probability_of_improvement(a: Seeds, b: Seeds, seed: int = 0, *, copies: bool = False) -> Estimate:
    """P(X > Y) + P(X = Y) / 2 for an episode X of a seed of `a` and an episode Y of a seed of `b`.

    Averaged over all pairs of seeds (Agarwal et al. 2021, section 4.3, the Mann-Whitney statistic); the interval
    resamples the seeds of both, and their episodes. No interval where one side has one seed, or where every episode
    of one side is above every one of the other.

    Args:
        a: for each seed its returns.
        b: likewise.
        seed: of the bootstrap's generator.
        copies: some episodes are copies of others; then seeds alone are resampled.

    Returns:
        The estimate; its `n` is the smaller number of seeds.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    wins = Wins(a, b, seed, copies)
    n = min(wins.sizes)
    if n < 2 or wins.decided:
        return Estimate(wins.value, None, None, n)
    low, high = bootstrap(wins.samples, wins.resampled, n, sum(wins.sizes) - 2, seed)
    return Estimate(wins.value, float(low), float(high), n)


class Wins:
    """How often an episode of `a` is above one of `b`, of what was seen and of resamples."""

    def __init__(self, a: Seeds, b: Seeds, seed: int, copies: bool) -> None:
        self._a, self._b = Stages(a, seed, copies), Stages(b, seed + 1, copies)
        self._order = np.argsort(self._b.values, kind="stable")
        ordered = self._b.values[self._order]
        self._below = np.searchsorted(ordered, self._a.values, "left")
        self._not_above = np.searchsorted(ordered, self._a.values, "right")
        self.value = float(self._of(self._a.whole, self._b.whole)[0])

    @property
    def samples(self) -> tuple[IndexArray, IndexArray]:
        """What scipy resamples: the numbers of the seeds of both sides."""
        return self._a.numbers, self._b.numbers

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self._a.seeds), len(self._b.seeds)

    @property
    def decided(self) -> bool:
        """Whether no resample can come out otherwise: every episode wins, or none does, or all are equal."""
        a, b = self._a.values, self._b.values
        return bool(a.min() > b.max() or a.max() < b.min() or a.min() == a.max() == b.min() == b.max())

    def resampled(self, i: IndexArray, j: IndexArray, axis: int) -> FloatArray:
        """Of resamples of the seeds: shapes (resamples, seeds) to (resamples,)."""
        return self._of(self._a.weights(np.moveaxis(i, axis, -1)), self._b.weights(np.moveaxis(j, axis, -1)))

    def _of(self, of_a: FloatArray, of_b: FloatArray) -> FloatArray:
        """From the weights of the episodes of both sides."""
        behind = np.concatenate([np.zeros((len(of_b), 1)), np.cumsum(of_b[:, self._order], axis=1)], axis=1)
        return np.asarray((of_a * (behind[:, self._below] + behind[:, self._not_above])).sum(axis=1) / 2)


def wins_of_seeds(a: Seeds, b: Seeds) -> FloatArray:
    """P(X > Y) + P(X = Y) / 2 for every pair of seeds: shape (seeds of a, seeds of b)."""
    return np.stack(list(_wins_over_each(a, b)), axis=1)


def _wins_over_each(a: Seeds, b: Seeds) -> Iterator[FloatArray]:
    """A column of `wins_of_seeds` after the other, each of shape (seeds of a,)."""
    rows = checked_seeds(a)
    values, sizes = np.concatenate(rows), np.array([len(row) for row in rows])
    for ordered in map(np.sort, checked_seeds(b)):
        behind = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
        yield np.add.reduceat(behind, np.cumsum(sizes) - sizes) / (2 * sizes * len(ordered))


def permutation_p_value(a: Seeds, b: Seeds, seed: int = 0, *, level: float = 1 - CONFIDENCE) -> float:
    """How often seeds dealt out to `a` and `b` by chance are as far from P = 0.5 as these are, two-sided.

    Exact up to 7 seeds a side. Three seeds a side never get below 0.1, four can reach 0.03. One seed on a side shows
    nothing of how much seeds differ: 1.

    Args:
        a: for each seed its returns.
        b: likewise.
        seed: of the generator.
        level: what the value is to be held against; the smaller it is, the more permutations are tried.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    every = [*a, *b]
    wins = np.zeros(len(every))
    for of_each in _wins_over_each(every, every):
        wins += of_each
    n, m = len(a), len(b)
    if min(n, m) < 2:
        return 1.0

    def distance(i: IndexArray, _: IndexArray, axis: int) -> FloatArray:
        # Half of a side's wins over its own are wins, whoever is on it: of its wins over all, the rest is over the
        # other side. Pairs need not be looked at, of which a thousand episodes a side have a million.
        of_side = wins[np.moveaxis(i, axis, -1).astype(np.intp)].sum(axis=-1)
        # Rounded, so that what is as far apart is so whatever the order of summation.
        return np.asarray(np.abs((of_side - n * n / 2) / (n * m) - 0.5).round(12))

    samples = np.arange(len(a)), np.arange(len(a), len(a) + len(b))
    return permuted(samples, distance, "independent", seed, level)


def permuted(
    samples: tuple[IndexArray, IndexArray],
    distance: Callable[..., FloatArray],
    kind: Literal["independent", "samples"],
    seed: int,
    level: float = 1 - CONFIDENCE,
) -> float:
    """How often two samples are as far apart when they are dealt out anew, by scipy.

    Args:
        samples: numbers of what is dealt out, each of shape (n,).
        distance: called as scipy.stats.permutation_test calls it, `axis=-1`.
        kind: between both samples, or only within each pair (`permutation_type`).
        seed: of the generator.
        level: that the share is to be held against.
    """
    test = scipy.stats.permutation_test(
        samples,
        distance,
        permutation_type=kind,
        vectorized=True,
        # Of so many drawn at random even none at all as far apart is a tenth of the level.
        n_resamples=max(PERMUTATIONS, ceil(10 / level)),
        batch=500,
        alternative="greater",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def runs_p_value(a: Returns, b: Returns) -> float:
    """Whether two trained agents differ, judged by their episodes: Mann and Whitney's test, two-sided, by scipy.

    It says something of these two agents, and nothing of how the next seed would come out. Leave copies of an episode
    out first. Exact for up to 8 episodes without ties, otherwise with the normal approximation.

    Raises:
        ValueError: no return, or one that is not finite.
    """
    x, y = checked(a), checked(b)
    if float(np.ptp(np.concatenate([x, y]))) == 0:
        return 1.0
    return float(scipy.stats.mannwhitneyu(x, y, alternative="two-sided").pvalue)


def profile(returns_by_seed: Seeds, thresholds: Returns, seed: int = 0, *, copies: bool = False) -> Band:
    """The share of episodes whose return is above each threshold (Agarwal et al. 2021, section 4.2).

    Averaged over seeds; the band is a 95% interval at each threshold. Of one seed there is none: NaN.

    Raises:
        ValueError: no seed, a seed without a return, or a return that is not finite.
    """
    stages = Stages(returns_by_seed, seed, copies)
    above = (stages.values[:, None] > np.asarray(thresholds, np.float64)).astype(np.float64)
    value, n = (stages.whole @ above)[0], len(stages.seeds)
    if n < 2:
        return Band(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    low, high = bootstrap(
        (stages.numbers,),
        lambda drawn, axis: (stages.weights(np.moveaxis(drawn, axis, -1)) @ above).T,
        n,
        n - 1,
        seed,
    )
    return Band(value, low, high)
