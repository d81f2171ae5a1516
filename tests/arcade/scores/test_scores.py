"""Statistics of returns: estimates, intervals, tests and verdicts."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.arcade import scores
from tasks.arcade.scores import Estimate
from tasks.arcade.scores.published import REFERENCES

SEEDS = st.lists(st.lists(st.integers(-21, 21), min_size=1, max_size=6), min_size=1, max_size=4)
BETTER = "a is better than b: probability of improvement"
OPEN = "No significant difference between a and b: probability of improvement"
ONE_SEED = "One seed each says nothing about the approaches."
QUICK = settings(deadline=None, derandomize=True, max_examples=50, database=None)


def _seeds(generator: np.random.Generator, n: int, level: float, spread: float = 1.0) -> list[np.ndarray]:
    """Returns of n seeds, 10 episodes each, whose own levels differ around `level`."""
    return [generator.normal(generator.normal(level, spread), 1, 10) for _ in range(n)]


@QUICK
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_iqm_equals_the_25_percent_trimmed_mean(returns: list[float]) -> None:
    assert scores.interquartile_mean(returns) == pytest.approx(scipy.stats.trim_mean(returns, 0.25), abs=1e-6)


def test_iqm_ignores_an_outlier() -> None:
    assert scores.interquartile_mean([1, 2, 3, 1000]) == 2.5


@pytest.mark.parametrize("returns", [[5.0], [3.0] * 10])
def test_constant_returns_have_no_interval(returns: list[float]) -> None:
    assert scores.estimate(returns, scores.mean) == Estimate(returns[0], None, None, len(returns))


def test_interval_covers_the_true_mean_in_95_percent_of_cases() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(80):
        found = scores.estimate(generator.normal(7, 3, 30), scores.mean)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 7 <= found.high
    assert 0.88 <= covered / 80 <= 0.99


def test_interval_depends_on_the_bootstrap_seed_only() -> None:
    returns = np.random.default_rng(0).normal(size=20)
    first = scores.estimate(returns, scores.interquartile_mean, seed=3)
    assert first == scores.estimate(returns, scores.interquartile_mean, seed=3)
    assert first != scores.estimate(returns, scores.interquartile_mean, seed=4)


def test_estimate_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.estimate([1.0, 2.0], scores.mean).value = 3.0


def test_bootstrap_resamples_seeds_and_episodes_within_them() -> None:
    seeds = [[0, 2], [10, 12], [20, 22]]
    whole = scores.estimate_over_seeds(seeds, scores.mean, has_duplicates=True)
    assert whole == Estimate(11.0, 1.0, 21.0, 3), (
        "duplicates: whole seeds are resampled, from three times the worst to three times the best"
    )
    assert scores.estimate_over_seeds(seeds, scores.mean) == Estimate(11.0, 0.0, 22.0, 3)


def test_more_episodes_per_seed_do_not_replace_seeds() -> None:
    many = scores.estimate_over_seeds([[0, 2] * 500, [10, 12] * 500, [20, 22] * 500], scores.mean)
    assert (many.low, many.high) == (pytest.approx(1, abs=0.2), pytest.approx(21, abs=0.2))


def test_single_seed_has_no_interval() -> None:
    assert scores.estimate_over_seeds([range(100)], scores.mean) == Estimate(49.5, None, None, 1)


def test_seeds_may_differ_in_number_of_episodes() -> None:
    found = scores.estimate_over_seeds([[0.0], [3.0, 3.0, 3.0]], scores.mean)
    assert (found.value, found.low, found.high, found.n) == (2.25, 0.0, 3.0, 2)


@QUICK
@given(SEEDS, SEEDS)
def test_probability_of_improvement_averages_over_pairs_of_episodes(a: list[list[int]], b: list[list[int]]) -> None:
    by_hand = np.mean(
        [
            np.mean([(x > y) + (x == y) / 2 for x, y in itertools.product(of_a, of_b)])
            for of_a, of_b in itertools.product(a, b)
        ]
    )
    found = scores.probability_of_improvement(a, b)
    assert found.value == pytest.approx(by_hand)
    assert found.value + scores.probability_of_improvement(b, a).value == pytest.approx(1)
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.high <= 1


def test_probability_of_improvement_has_an_interval_unless_it_is_constant() -> None:
    generator = np.random.default_rng(5)
    found = scores.probability_of_improvement(_seeds(generator, 5, 1), _seeds(generator, 4, 0))
    assert found.n == 4
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert scores.probability_of_improvement([[1, 2]], [[1, 2], [0, 3]]).low is None
    assert scores.probability_of_improvement([[5], [6]], [[1], [2]]) == Estimate(1.0, None, None, 2)
    assert scores.probability_of_improvement([[1], [2]], [[5], [6]]) == Estimate(0.0, None, None, 2)
    assert scores.probability_of_improvement([[5], [5]], [[5], [5]]) == Estimate(0.5, None, None, 2)


def test_interleaved_seeds_have_a_wide_interval() -> None:
    between, around = [[5], [6], [6], [7]], [[0], [0], [30], [30]]
    for sides in ((between, around), (around, between)):
        found = scores.probability_of_improvement(*sides)
        assert (found.value, found.low, found.high) == (0.5, 0, 1)
    games = scores.games_probability([between] * 2, [around] * 2)
    assert games.low is not None
    assert games.low < 0.5


@pytest.mark.parametrize(("n", "expected"), [(1, 1.0), (2, 2 / 6), (3, 2 / 20), (4, 2 / 70), (5, 2 / 252)])
def test_permutation_p_value_of_separated_seeds_is_exact(n: int, expected: float) -> None:
    low, high = [[i, i] for i in range(n)], [[i + 50, i + 50] for i in range(n)]
    assert scores.permutation_p_value(high, low) == pytest.approx(expected)
    assert scores.permutation_p_value(low, high) == pytest.approx(expected)


def test_p_value_resolves_the_significance_level() -> None:
    """Ten seeds per side have 184,756 permutations, eight have 12,870."""
    low, high = [[i] for i in range(10)], [[i + 50] for i in range(10)]
    assert scores.permutation_p_value(high, low) >= 1 / 10_000
    assert scores.permutation_p_value(high, low, level=1e-4) < 1e-4
    assert scores.permutation_p_value(high[:8], low[:8], level=7e-4) == pytest.approx(2 / 12_870)


def test_comparing_many_episodes_needs_little_memory() -> None:
    """With thousands of episodes, all pairs of all permutations would take gigabytes."""
    a, b = np.random.default_rng(0).normal([[0], [0.3]], 1, (2, 400))
    tracemalloc.start()
    try:
        assert scores.compare_agents("a", a, "b", b).sentence.startswith(
            "b is better than a: probability of improvement 0.5"
        )
        assert scores.permutation_p_value([[x] for x in a], [[x] for x in b]) < 0.01
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n", [3, 4, 5])
def test_p_value_counts_ties_exactly(n: int) -> None:
    """The reference uses integers, which have no rounding errors."""
    generator = np.random.default_rng(n)
    for _ in range(20):
        every = generator.normal(size=(2 * n, 7)).round(1)
        wins = (2 * (every[:, None, :, None] > every[:, None]) + (every[:, None, :, None] == every[:, None])).sum(
            (2, 3)
        )
        apart = []
        for side in itertools.combinations(range(2 * n), n):
            other = [seed for seed in range(2 * n) if seed not in side]
            apart.append(abs(int(wins[np.ix_(side, other)].sum()) - 49 * n * n))
        expected = np.mean([one >= apart[0] for one in apart])
        assert scores.permutation_p_value(every[:n].tolist(), every[n:].tolist()) == pytest.approx(expected)


def test_sampled_permutations_are_reproducible() -> None:
    generator = np.random.default_rng(2)
    a, b = _seeds(generator, 12, 0.8), _seeds(generator, 12, 0)
    first = scores.permutation_p_value(a, b, seed=1)
    assert 0 < first < 1
    assert first == scores.permutation_p_value(a, b, seed=1)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_permutation_test_keeps_its_level_and_has_power(n: int) -> None:
    generator = np.random.default_rng(n)
    false_positives = [
        scores.permutation_p_value(_seeds(generator, n, 0), _seeds(generator, n, 0)) <= 0.05 for _ in range(200)
    ]
    true_positives = [
        scores.permutation_p_value(_seeds(generator, n, 3), _seeds(generator, n, 0)) <= 0.05 for _ in range(50)
    ]
    assert np.mean(false_positives) <= 0.08
    assert np.mean(true_positives) >= 0.7 if n >= 4 else not any(true_positives)


def test_verdict_names_the_better_side_first() -> None:
    generator = np.random.default_rng(3)
    tuned, plain = _seeds(generator, 5, 2.5), _seeds(generator, 5, 0)
    found = scores.probability_of_improvement(tuned, plain)
    assert found.low is not None
    assert found.high is not None
    claim = "ppo-tuned is better than ppo: probability of improvement"
    expected = f"{claim} {found.value:.2f} [{found.low:.2f}, {found.high:.2f}] (p = 0.008, 5 seeds each)"
    assert scores.compare_approaches("ppo-tuned", tuned, "ppo", plain).sentence == expected
    assert scores.compare_approaches("ppo", plain, "ppo-tuned", tuned).sentence.startswith(claim)


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([[1, 3]], [[0, 2]], f"This a agent scored 2.0, this b one 1.0 (2 episodes each, P = 0.75). {ONE_SEED}"),
        ([[0, 2]], [[1, 3]], f"This b agent scored 2.0, this a one 1.0 (2 episodes each, P = 0.75). {ONE_SEED}"),
        (
            [[9, 9]],
            [[0], [1]],
            "This a agent scored 9.0, the 2 b ones 0.5 (2 episodes each, P = 1.00). "
            "One seed of a says nothing about the approaches.",
        ),
        (
            [[9], [8]],
            [[-20]],
            "The 2 a agents scored 8.5, this b one -20.0 (2 and 1 episodes, P = 1.00). "
            "One seed of b says nothing about the approaches.",
        ),
        ([[9], [8], [7]], [[1], [2], [3]], f"{OPEN} 1.00 (p = 0.10, 3 seeds each)"),
        ([[9], [8], [7], [6]], [[1], [2], [3], [4]], f"{BETTER} 1.00 (p = 0.029, 4 seeds each)"),
        ([[1], [1]], [[1], [1]], f"{OPEN} 0.50 (p = 1.00, 2 seeds each)"),
        ([[1, 2]], [[1, 2]], f"This a agent scored 1.5, this b one 1.5 (2 episodes each, P = 0.50). {ONE_SEED}"),
    ],
)
def test_verdict_sentence(a: list[list[int]], b: list[list[int]], sentence: str) -> None:
    assert scores.compare_approaches("a", a, "b", b).sentence == sentence


def test_seeds_that_no_test_can_compare_have_no_p_value() -> None:
    lone = scores.compare_approaches("a", [[9.0, 8.0]], "b", [[1.0], [2.0]])
    assert lone.p_value is None
    assert not lone.significant
    assert not lone.worse
    assert lone.has_too_few_seeds
    assert scores.compare_over_games("a", [[[9.0]]], "b", [[[1.0]]]).p_value is None
    for seeds, p_value, too_few in ((3, 0.1, True), (4, pytest.approx(0.0286, abs=1e-4), False)):
        apart = [[[level + seed] for seed in range(seeds)] for level in (10.0, 0.0)]
        found = scores.compare_approaches("a", apart[0], "b", apart[1])
        assert found.p_value == found.smallest_p_value == p_value
        assert found.has_too_few_seeds == too_few
    games = scores.compare_over_games("a", [[[9.0], [8.0]]], "b", [[[1.0], [2.0]]])
    assert games.p_value == games.smallest_p_value == 0.5


@pytest.mark.parametrize("returns", [[], [1.0, float("nan")], [float("inf")], [[1.0, 2.0]]])
def test_invalid_returns_raise_one_line_errors(returns: list[float]) -> None:
    for call in (
        lambda: scores.estimate(returns, scores.mean),
        lambda: scores.interquartile_mean(returns),
        lambda: scores.estimate_over_seeds([[1.0], returns], scores.mean),
        lambda: scores.compare_approaches("a", [[1.0]], "b", [returns]),
    ):
        with pytest.raises(ValueError, match=r"^returns must be [^\n]+$"):
            call()


def test_missing_seeds_raise() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        scores.probability_of_improvement([], [[1.0]])


def test_duplicate_episodes_are_dropped() -> None:
    digests = ["b", "a", "b", "c", "a"]
    assert scores.count_distinct(digests) == 3
    np.testing.assert_array_equal(scores.drop_duplicates([16, 11, 16, 18, 11], digests), [16, 11, 18])
    with pytest.raises(ValueError, match="got 1 digests for 2 returns"):
        scores.drop_duplicates([1, 2], ["a"])


def test_interval_over_distinct_episodes_contains_the_overall_value() -> None:
    returns, digests = [0.0] * 9 + [100.0] * 41, [*"abcdefghi", *"j" * 41]
    found = scores.estimate_over_distinct(returns, digests, scores.mean)
    alone = scores.estimate([0.0] * 9 + [100.0], scores.mean)
    assert alone.high is not None
    assert found == Estimate(82.0, alone.low, 82.0, 10)
    assert alone.high < 82
    low = scores.estimate_over_distinct([-one for one in returns], digests, scores.mean)
    assert (low.low, low.value) == (-82.0, -82.0)
    apart = [str(number) for number in range(50)]
    every = np.random.default_rng(0).normal(size=50)
    assert scores.estimate_over_distinct(every, apart, scores.mean, 3) == scores.estimate(every, scores.mean, 3)
    assert scores.estimate_over_distinct([1, 1, 1], list("aab"), scores.mean) == Estimate(1.0, None, None, 2)


def test_curve_is_interpolated_but_not_extrapolated() -> None:
    values = scores.interpolate_curve([20, 10, 30], [2.0, 1.0, 0.0], [5, 10, 15, 25, 30, 31])
    np.testing.assert_array_equal(values, [np.nan, 1.0, 1.5, 1.0, 0.0, np.nan])


def test_last_value_at_a_step_counts() -> None:
    np.testing.assert_array_equal(scores.interpolate_curve([1, 2, 2], [0.0, 5.0, 7.0], [2]), [7.0])


def test_invalid_curves_raise() -> None:
    assert np.isnan(scores.interpolate_curve([], [], [1, 2])).all()
    with pytest.raises(ValueError, match="one value per step"):
        scores.interpolate_curve([1, 2], [1.0], [1])
    with pytest.raises(ValueError, match="finite"):
        scores.interpolate_curve([1, 2], [1.0, float("nan")], [1])


def test_common_grid_is_the_union_or_evenly_spaced() -> None:
    np.testing.assert_array_equal(scores.common_grid([[10, 20], [15, 20]]), [10, 15, 20])
    np.testing.assert_array_equal(scores.common_grid([range(1001)], points=5), [0, 250, 500, 750, 1000])
    assert len(scores.common_grid([])) == 0


def test_band_is_defined_where_every_seed_has_a_value() -> None:
    band = scores.band_over_seeds([np.array([1.0, 2.0, 3.0]), np.array([3.0, 6.0, np.nan])])
    np.testing.assert_array_equal(band.value, [2.0, 4.0, np.nan])
    np.testing.assert_array_equal(band.low, [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(band.high, [3.0, 6.0, np.nan])
    alone = scores.band_over_seeds([np.array([1.0, np.nan])])
    np.testing.assert_array_equal([alone.value, alone.low, alone.high], [[1, np.nan], [np.nan] * 2, [np.nan] * 2])
    with pytest.raises(ValueError, match="at least one seed"):
        scores.band_over_seeds([])


def test_band_is_the_iqm_over_seeds() -> None:
    curves = [np.full(3, value) for value in (0.0, 1.0, 2.0, 99.0)]
    band = scores.band_over_seeds(curves)
    np.testing.assert_array_equal(band.value, [1.5] * 3)
    assert (band.low <= 1).all()
    assert (band.high >= 50).all()


def test_first_step_reaching_a_level() -> None:
    grid, values = np.array([10.0, 20.0, 30.0]), np.array([np.nan, 5.0, 7.0])
    assert scores.first_step_reaching(grid, values, 5) == 20
    assert scores.first_step_reaching(grid, values, 8) is None


def test_performance_profile_is_the_share_of_episodes_above_each_threshold() -> None:
    band = scores.performance_profile([[1, 2, 3, 4], [3, 4]], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(band.value, [1, (0.75 + 1) / 2, (0.5 + 1) / 2, (0.25 + 0.5) / 2, 0])
    assert ((band.low <= band.value) & (band.value <= band.high)).all()
    assert np.isnan(scores.performance_profile([[1, 2]], [1]).low).all(), "one seed has no interval"


def test_agents_are_compared_over_episodes() -> None:
    generator = np.random.default_rng(6)
    good, bad = generator.normal(2, 1, 30), generator.normal(0, 1, 20)
    found = scores.compare_agents("a", bad, "b", good)
    assert found.sentence.startswith("b is better than a: probability of improvement 0.")
    assert found.sentence.endswith("] (p < 0.001, 30 and 20 episodes)")
    assert found.worse
    assert not scores.compare_agents("b", good, "a", bad).worse
    assert found.p_value == scipy.stats.mannwhitneyu(bad, good).pvalue
    same = scores.compare_agents("a", [1, 1], "b", [1, 1])
    assert (same.sentence, same.worse) == (f"{OPEN} 0.50 (p = 1.00, 2 episodes each)", False)


# --- reference results ---


def test_results_match_rliable() -> None:
    """Rows are runs, columns games: interquartile means 1.5 and 2, probability of improvement 1/3."""
    x, y = np.array([[1, 2], [2, 2], [1, 1], [2, 1]]), np.array([[1, 1], [2, 2], [3, 3]])
    games_x, games_y = ([[[score] for score in game] for game in matrix.T] for matrix in (x, y))
    assert scores.iqm_over_games(games_x).value == 1.5
    assert scores.iqm_over_games(games_y).value == 2
    assert scores.games_probability(games_x, games_y).value == pytest.approx(1 / 3)


def test_human_normalized_scores_match_published_ones() -> None:
    """Atari 100k: mean and median of SimPLe, OTRainbow, data-efficient Rainbow and CURL over 26 games.

    Per-game scores from CURL's table (Laskin et al. 2020), means and medians from Schwarzer et al. 2021, table 1.
    """
    published = {"SimPLe": (0.443, 0.144), "OTRainbow": (0.264, 0.204), "DER": (0.285, 0.161), "CURL": (0.381, 0.175)}
    table = [line.split() for line in (Path(__file__).parent / "atari100k.txt").read_text().splitlines()[1:]]
    references = [REFERENCES[row[0]] for row in table]
    for column, (mean, median) in enumerate(published.values(), 1):
        of_games = [
            scores.human_normalized([float(row[column])], reference.random, reference.human)[0]
            for row, reference in zip(table, references, strict=True)
            if reference.random is not None and reference.human is not None
        ]
        assert len(of_games) == 26
        assert np.mean(of_games) == pytest.approx(mean, abs=0.0006)
        assert np.median(of_games) == pytest.approx(median, abs=0.0006)


def test_human_score_must_be_above_random() -> None:
    with pytest.raises(ValueError, match="above the random score"):
        scores.human_normalized([1.0], 5.0, 5.0)


def test_interval_of_two_constant_seeds_is_their_range() -> None:
    """Resamples of two constant seeds are their mean, or one of them twice."""
    assert scores.estimate_over_seeds([[3.0, 3.0], [5.0, 5.0]], scores.mean) == Estimate(4.0, 3.0, 5.0, 2)


# --- coverage ---


def _covers(found: Estimate, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def test_intervals_over_seeds_cover_the_true_value() -> None:
    generator = np.random.default_rng(11)
    covered = [
        _covers(scores.estimate_over_seeds(_seeds(generator, 5, 4), scores.interquartile_mean), 4) for _ in range(50)
    ]
    assert np.mean(covered) >= 0.88


def test_intervals_of_the_probability_of_improvement_cover_the_true_value() -> None:
    """Two normal variables of variance 2 whose means are 1 apart: P is the normal distribution's value at 1/2."""
    generator = np.random.default_rng(12)
    truth = float(scipy.stats.norm.cdf(0.5))
    covered = [
        _covers(scores.probability_of_improvement(_seeds(generator, 6, 1), _seeds(generator, 6, 0)), truth)
        for _ in range(100)
    ]
    assert np.mean(covered) >= 0.9


def test_intervals_over_games_cover_the_true_value() -> None:
    generator = np.random.default_rng(13)
    covered = [
        _covers(scores.iqm_over_games([_seeds(generator, 4, 1), _seeds(generator, 4, 1)]), 1) for _ in range(100)
    ]
    assert np.mean(covered) >= 0.9


def test_profile_intervals_cover_the_true_value() -> None:
    generator = np.random.default_rng(14)
    thresholds = np.array([-1.0, 0.0, 1.0])
    truth = scipy.stats.norm.sf(thresholds / np.sqrt(2))
    bands = [scores.performance_profile(_seeds(generator, 6, 0), thresholds) for _ in range(60)]
    assert np.mean([(band.low <= truth) & (truth <= band.high) for band in bands]) >= 0.9


def test_games_test_keeps_its_level_and_has_power() -> None:
    generator = np.random.default_rng(15)

    def games(n: int, level: float) -> list[list[np.ndarray]]:
        return [_seeds(generator, n, level), _seeds(generator, n, level)]

    false_positives = [scores.games_p_value(games(4, 0), games(4, 0)) <= 0.05 for _ in range(100)]
    true_positives = [scores.games_p_value(games(4, 3), games(4, 0)) <= 0.05 for _ in range(40)]
    assert np.mean(false_positives) <= 0.1
    assert np.mean(true_positives) >= 0.7
    assert scores.games_p_value(games(1, 9), games(1, 0)) == 1, "one seed per game has no variance between seeds"


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ([[[9], [8]], [[9], [8]]], [[[1], [2]], [[1], [2]]], f"{OPEN} 1.00 (p = 0.12, 2 games, 2 seeds each)"),
        (
            [[[1]], [[2]]],
            [[[3]], [[4]]],
            "The 2 b agents scored 3.50, the 2 a ones 1.50 (human-normalized, 2 games, 2 episodes each, P = 1.00). "
            f"{ONE_SEED}",
        ),
        ([[[9], [8], [7]]] * 2, [[[1], [2], [3]]] * 2, f"{BETTER} 1.00 (p = 0.031, 2 games, 3 seeds each)"),
    ],
)
def test_verdict_sentence_over_games(a: list[list[list[int]]], b: list[list[list[int]]], sentence: str) -> None:
    assert scores.compare_over_games("a", a, "b", b).sentence == sentence


def test_games_verdict_needs_pairs_and_all_seeds_to_agree() -> None:
    """All tested seeds favor a; those without a partner turn the mean probability to b."""
    a, b = [[5], [6], [5.5]], [[0], [1], [2], [9], [8], [7], [9.5]]
    assert scores.games_p_value([a, a], [b[:3], b[:3]]) == 2 / 64
    for found in (
        scores.compare_over_games("a", [a, a], "b", [b, b]),
        scores.compare_over_games("b", [b, b], "a", [a, a]),
    ):
        assert found.p_value == 1
        assert not found.significant
        assert not found.worse
        assert found.sentence.startswith("No significant difference between b and a: ")
        assert found.sentence.endswith("2 games, 7 and 3 seeds)")


def test_both_sides_need_the_same_games() -> None:
    with pytest.raises(ValueError, match="the same games"):
        scores.compare_over_games("a", [[[1]]], "b", [])
    with pytest.raises(ValueError, match="at least one game"):
        scores.iqm_over_games([])
