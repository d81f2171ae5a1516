"""One run's episodes → a statistic with its interval; and the bootstrap that every interval here comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
Returns = Sequence[float] | npt.NDArray[np.floating] | npt.NDArray[np.integer]
Statistic = Callable[[FloatArray], float]

CONFIDENCE = 0.95
"""Of every interval; a difference that chance makes in more than 1 - 0.95 of the cases is called undecided."""
RESAMPLES = 2000


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


def mean(returns: Returns) -> float:
    """The mean of finite returns.

    Raises:
        ValueError: no return, or one that is not finite.
    """
    return float(np.mean(checked(returns)))


def interquartile_mean(returns: Returns) -> float:
    """The mean of the middle half: a quarter, rounded down, is cut off at either end (rliable's IQM).

    Raises:
        ValueError: no return, or one that is not finite.
    """
    return float(middle_mean(checked(returns)))


def middle_mean(values: FloatArray) -> FloatArray:
    """Interquartile means along the last axis, shape (..., n) to (...)."""
    # scipy.stats.trim_mean gives the same, a bootstrap of it 20 times slower.
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    return np.asarray(ordered[..., n // 4 : n - n // 4].mean(axis=-1))


def of_rows(statistic: Statistic, rows: FloatArray) -> FloatArray:
    """A statistic of every row, shape (..., n) to (...); those of this module at once, others one by one."""
    if statistic is mean:
        return np.asarray(rows.mean(axis=-1))
    if statistic is interquartile_mean:
        return middle_mean(rows)
    return np.asarray(np.apply_along_axis(statistic, -1, rows))


def normalized(returns: Returns, random: float, human: float) -> FloatArray:
    """Human-normalized scores, float64 of the same shape: 0 is random play, 1 the human's (Mnih et al. 2015).

    Raises:
        ValueError: no return, one that is not finite, or a human no better than random play.
    """
    if human <= random:
        raise ValueError(f"a human score must be above the random one: got {human} and {random}")
    return np.asarray((checked(returns) - random) / (human - random))


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
    values = checked(returns)
    if np.ptp(values) == 0:
        return Estimate(float(statistic(values)), None, None, len(values))

    def resampled(sample: FloatArray, axis: int) -> FloatArray:
        return of_rows(statistic, np.moveaxis(sample, axis, -1))

    low, high = bootstrap((values,), resampled, len(values), len(values) - 1, seed)
    return Estimate(float(statistic(values)), float(low), float(high), len(values))


def distinct(digests: Iterable[str]) -> int:
    """How many different episodes there are among episodes with these RAM digests."""
    return len(set(digests))


def without_copies(returns: Returns, digests: Sequence[str]) -> FloatArray:
    """The returns of the distinct episodes, in the order of their first appearance: float64, shape (distinct,).

    Raises:
        ValueError: not as many digests as returns, no return, or one that is not finite.
    """
    values = checked(returns)
    if len(digests) != len(values):
        raise ValueError(f"{len(values)} returns need as many RAM digests, one an episode: got {len(digests)}")
    first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
    return np.asarray(values[sorted(first.values())])


def estimate_over_distinct(returns: Returns, digests: Sequence[str], statistic: Statistic, seed: int = 0) -> Estimate:
    """A statistic of all episodes of one run, with an interval over the distinct ones.

    Copies weigh on the value and not on the interval, so that the value may lie outside: then the interval is widened
    to hold it.

    Args:
        returns: one an episode, shape (n,).
        digests: of the episodes' RAM, one an episode, by which copies are known.
        statistic: of a float64 array of shape (n,).
        seed: of the bootstrap's generator.

    Returns:
        The estimate; its `n` is the number of distinct episodes.

    Raises:
        ValueError: not as many digests as returns, no return, or one that is not finite.
    """
    value, found = float(statistic(checked(returns))), estimate(without_copies(returns, digests), statistic, seed)
    if found.low is None or found.high is None:
        return Estimate(value, None, None, found.n)
    return Estimate(value, min(found.low, value), max(found.high, value), found.n)


def checked(returns: Returns) -> FloatArray:
    """The returns as float64, shape (n,).

    Raises:
        ValueError: no return, or one that is not finite.
    """
    values = np.asarray(returns, np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"returns must be a flat list of at least one number: got shape {values.shape}")
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"returns must be finite numbers: number {wrong} of {len(values)} is {values[wrong]}")
    return values


def bootstrap(
    samples: tuple[FloatArray | IndexArray, ...],
    statistic: Callable[..., FloatArray],
    n: int,
    freedom: int,
    seed: int,
) -> tuple[FloatArray, FloatArray]:
    """The 95% interval of a statistic of samples that are resampled each on its own, by scipy.

    The percentile interval, with its ends moved outwards as far as a sample of n needs (Hesterberg 2015, "What
    teachers should know about the bootstrap", section 5.1: the expanded percentile interval): plain percentiles of
    five seeds hold the truth in 84% of the cases instead of 95. They cannot move beyond what was resampled.

    Args:
        samples: each of shape (n,).
        statistic: called as scipy.stats.bootstrap calls it, `axis=-1`; several values for each resample come first.
        n: the smallest sample's size.
        freedom: degrees of freedom of the spread: all sizes less one for each sample.
        seed: of the generator.

    Returns:
        Lower and upper end, each of the shape of the statistic.
    """
    interval = scipy.stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        batch=100,  # 10,000 episodes are 8 MB a batch, not 160 MB at once
        vectorized=True,
        confidence_level=expanded_level(n, freedom),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.asarray(interval.low), np.asarray(interval.high)


def expanded_level(n: int, freedom: int) -> float:
    """The percentile interval's own level that makes it one of 95% for n values, after Hesterberg 2015."""
    reach = scipy.stats.t.isf((1 - CONFIDENCE) / 2, freedom) * np.sqrt(n / (n - 1))
    return float(min(1 - 2 * scipy.stats.norm.sf(reach), 1 - 1e-9))
