"""Several games, in human-normalized scores → one figure for all of them.

Runs are resampled within each game, as many as it has (stratified bootstrap, Agarwal et al. 2021, section 4.1), and
episodes within each run. `Games` below are the `Seeds` of each game, one list a game, in the same order everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.arcade.scores.estimates import Estimate, FloatArray, IndexArray, bootstrap, middle_mean
from tasks.arcade.scores.seeds import Seeds, Stages, Wins, permuted, wins_of_seeds

Games = Sequence[Seeds]


def iqm_over_games(games: Games, seed: int = 0) -> Estimate:
    """The interquartile mean of the mean scores of all runs of all games, with its 95% interval.

    Args:
        games: for each game, for each seed its human-normalized scores, one an episode.
        seed: of the bootstrap's generator.

    Returns:
        The estimate; its `n` is the number of runs. No interval where a game has one run.

    Raises:
        ValueError: no game, no seed, a seed without a score, or a score that is not finite.
    """
    if len(games) == 0:
        raise ValueError("scores of at least one game are needed: got none")
    stages = [Stages(of_game, seed + number) for number, of_game in enumerate(games)]
    runs = np.array([float(np.mean(of_run)) for of_game in stages for of_run in of_game.seeds])
    value, sizes = float(middle_mean(runs)), [len(of_game.seeds) for of_game in stages]
    if min(sizes) < 2 or np.ptp(np.concatenate([of_game.values for of_game in stages])) == 0:
        return Estimate(value, None, None, len(runs))

    def resampled(*drawn: IndexArray, axis: int) -> FloatArray:
        means = [
            _means(of_game, np.moveaxis(of_draw, axis, -1)) for of_game, of_draw in zip(stages, drawn, strict=True)
        ]
        return middle_mean(np.concatenate(means, axis=1))

    samples = tuple(of_game.numbers for of_game in stages)
    low, high = bootstrap(samples, resampled, min(sizes), sum(sizes) - len(sizes), seed)
    return Estimate(value, float(low), float(high), len(runs))


def _means(stages: Stages, drawn: IndexArray) -> FloatArray:
    """The mean score of each drawn run, its episodes drawn again: shape (resamples, runs)."""
    return np.stack([stages.one_mean(drawn[:, place]) for place in range(drawn.shape[1])], axis=1)


def games_probability(a: Games, b: Games, seed: int = 0) -> Estimate:
    """The probability of improvement of each game, averaged over games, with its 95% interval.

    No interval where a game has one seed on a side, or where every game is decided.

    Returns:
        The estimate; its `n` is the smallest number of seeds of a game on a side.

    Raises:
        ValueError: not the same number of games, none, or what `probability_of_improvement` refuses.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"both sides need the same games, at least one: got {len(a)} and {len(b)}")
    pairs = [Wins(*of_game, seed + 2 * number, False) for number, of_game in enumerate(zip(a, b, strict=True))]
    value, sizes = float(np.mean([pair.value for pair in pairs])), [size for pair in pairs for size in pair.sizes]
    if min(sizes) < 2 or all(pair.decided for pair in pairs):
        return Estimate(value, None, None, min(sizes))

    def resampled(*drawn: IndexArray, axis: int) -> FloatArray:
        of_games = zip(pairs, drawn[::2], drawn[1::2], strict=True)
        return np.asarray(np.mean([pair.resampled(i, j, axis) for pair, i, j in of_games], axis=0))

    samples = tuple(numbers for pair in pairs for numbers in pair.samples)
    low, high = bootstrap(samples, resampled, min(sizes), sum(sizes) - len(sizes), seed)
    return Estimate(value, float(low), float(high), min(sizes))


def games_p_value(a: Games, b: Games, seed: int = 0) -> float:
    """How often chance makes a mean probability of improvement as far from 0.5 as this one, two-sided.

    Within each game the seeds of both sides are taken in pairs, in their order, and each pair is dealt out anew
    (a permutation test of pairs, by scipy; exact up to 13 pairs). Seeds that are left over are not tested: where the
    pairs and all seeds do not point the same way, the test is none of what all seeds say: 1. One pair a game shows
    nothing of how much seeds differ: 1.

    Raises:
        ValueError: not the same number of games, none, or what `probability_of_improvement` refuses.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"both sides need the same games, at least one: got {len(a)} and {len(b)}")
    sizes = [min(len(x), len(y)) for x, y in zip(a, b, strict=True)]
    if min(sizes) < 2:
        return 1.0
    wins = []
    for x, y, size in zip(a, b, sizes, strict=True):
        both = [*list(x)[:size], *list(y)[:size]]
        wins.append(wins_of_seeds(both, both))
    tested = [float(table[:size, size:].mean()) for table, size in zip(wins, sizes, strict=True)]
    seen = [float(wins_of_seeds(x, y).mean()) for x, y in zip(a, b, strict=True)]
    if (np.mean(tested) - 0.5) * (np.mean(seen) - 0.5) <= 0:
        return 1.0
    pairs = [(of_game, number) for of_game, size in enumerate(sizes) for number in range(size)]
    ends = np.cumsum([0, *sizes])

    def distance(i: IndexArray, j: IndexArray, axis: int) -> FloatArray:
        rows, columns = np.moveaxis(i, axis, -1).astype(np.intp), np.moveaxis(j, axis, -1).astype(np.intp)
        of_games = [
            table[rows[..., low:high, None], columns[..., None, low:high]].mean(axis=(-2, -1))
            for table, low, high in zip(wins, ends, ends[1:], strict=False)
        ]
        return np.asarray(np.abs(np.mean(of_games, axis=0) - 0.5))

    first = np.array([number for _, number in pairs])
    second = np.array([sizes[of_game] + number for of_game, number in pairs])
    return permuted((first, second), distance, "samples", seed)
