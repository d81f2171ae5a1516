"""Estimates and tests over several games in human-normalized scores.

Runs are resampled within each game (stratified bootstrap, Agarwal et al. 2021, section 4.1), and episodes within each
run. `Games` holds the `Seeds` of each game, in the same order everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tasks.arcade.scores.estimates import Estimate, FloatArray, IndexArray, bootstrap, iqm_along_last_axis
from tasks.arcade.scores.over_seeds import Seeds, TwoStageBootstrap, WinProbability, permutation_test, win_matrix

Games = Sequence[Seeds]


def iqm_over_games(games: Games, seed: int = 0) -> Estimate:
    """Return the interquartile mean of the mean scores of all runs of all games, with its 95% interval.

    Args:
        games: for each game and seed the human-normalized scores, one per episode.
        seed: seed of the bootstrap.

    Returns:
        The estimate; its `n` is the number of runs. There is no interval if a game has a single run.

    Raises:
        ValueError: no game, no seed, a seed without a score, or a score that is not finite.
    """
    if len(games) == 0:
        raise ValueError("expected the scores of at least one game: got none")
    stages = [TwoStageBootstrap(of_game, seed + index) for index, of_game in enumerate(games)]
    runs = np.array([float(np.mean(of_run)) for of_game in stages for of_run in of_game.seeds])
    value, sizes = float(iqm_along_last_axis(runs)), [len(of_game.seeds) for of_game in stages]
    if min(sizes) < 2 or np.ptp(np.concatenate([of_game.values for of_game in stages])) == 0:
        return Estimate(value, None, None, len(runs))

    def statistic_of_resamples(*drawn: IndexArray, axis: int) -> FloatArray:
        means = [
            _run_means(of_game, np.moveaxis(of_draw, axis, -1)) for of_game, of_draw in zip(stages, drawn, strict=True)
        ]
        return iqm_along_last_axis(np.concatenate(means, axis=1))

    samples = tuple(of_game.indices for of_game in stages)
    low, high = bootstrap(samples, statistic_of_resamples, min(sizes), sum(sizes) - len(sizes), seed)
    return Estimate(value, float(low), float(high), len(runs))


def _run_means(stages: TwoStageBootstrap, drawn: IndexArray) -> FloatArray:
    """Return the mean score of each drawn run's resampled episodes: shape (resamples, runs)."""
    return np.stack([stages.resampled_mean(drawn[:, column]) for column in range(drawn.shape[1])], axis=1)


def games_probability(a: Games, b: Games, seed: int = 0) -> Estimate:
    """Return the probability of improvement of each game, averaged over games, with its 95% interval.

    There is no interval if a game has one seed on a side, or if no resample of any game can differ.

    Returns:
        The estimate; its `n` is the smallest number of seeds of a game on a side.

    Raises:
        ValueError: the sides differ in the number of games, there is no game, or `probability_of_improvement` raises.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"expected the same games on both sides, at least one: got {len(a)} and {len(b)}")
    pairs = [WinProbability(*of_game, seed + 2 * index, False) for index, of_game in enumerate(zip(a, b, strict=True))]
    value, sizes = float(np.mean([pair.value for pair in pairs])), [size for pair in pairs for size in pair.sizes]
    if min(sizes) < 2 or all(pair.is_constant for pair in pairs):
        return Estimate(value, None, None, min(sizes))

    def statistic_of_resamples(*drawn: IndexArray, axis: int) -> FloatArray:
        of_games = zip(pairs, drawn[::2], drawn[1::2], strict=True)
        return np.asarray(np.mean([pair.resampled(i, j, axis) for pair, i, j in of_games], axis=0))

    samples = tuple(indices for pair in pairs for indices in pair.samples)
    low, high = bootstrap(samples, statistic_of_resamples, min(sizes), sum(sizes) - len(sizes), seed)
    return Estimate(value, float(low), float(high), min(sizes))


def games_p_value(a: Games, b: Games, seed: int = 0) -> float:
    """Return the two-sided p-value of the mean probability of improvement over games.

    A paired permutation test (scipy; exact up to 13 pairs): within each game the seeds of both sides are paired in
    their order, and each pair is permuted. Seeds without a partner are not tested; p = 1 if the tested pairs and all
    seeds point in opposite directions, or if a game has a single pair.

    Raises:
        ValueError: the sides differ in the number of games, there is no game, or `probability_of_improvement` raises.
    """
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"expected the same games on both sides, at least one: got {len(a)} and {len(b)}")
    sizes = [min(len(x), len(y)) for x, y in zip(a, b, strict=True)]
    if min(sizes) < 2:
        return 1.0
    wins = []
    for x, y, size in zip(a, b, sizes, strict=True):
        pooled = [*list(x)[:size], *list(y)[:size]]
        wins.append(win_matrix(pooled, pooled))
    tested = [float(table[:size, size:].mean()) for table, size in zip(wins, sizes, strict=True)]
    observed = [float(win_matrix(x, y).mean()) for x, y in zip(a, b, strict=True)]
    if (np.mean(tested) - 0.5) * (np.mean(observed) - 0.5) <= 0:
        return 1.0
    pairs = [(game, index) for game, size in enumerate(sizes) for index in range(size)]
    ends = np.cumsum([0, *sizes])

    def distance(i: IndexArray, j: IndexArray, axis: int) -> FloatArray:
        rows, columns = np.moveaxis(i, axis, -1).astype(np.intp), np.moveaxis(j, axis, -1).astype(np.intp)
        of_games = [
            table[rows[..., low:high, None], columns[..., None, low:high]].mean(axis=(-2, -1))
            for table, low, high in zip(wins, ends, ends[1:], strict=False)
        ]
        return np.asarray(np.abs(np.mean(of_games, axis=0) - 0.5))

    first = np.array([index for _, index in pairs])
    second = np.array([sizes[game] + index for game, index in pairs])
    return permutation_test((first, second), distance, "samples", seed)
