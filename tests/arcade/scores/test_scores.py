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
QUICK = settings(deadline=None, derandomize=True, max_examples=50, database=None)


def _seeds(generator: np.random.Generator, n: int, level: float, spread: float = 1.0) -> list[np.ndarray]:
    """Returns of n seeds, 10 episodes each, whose own levels differ around `level`."""
    return [generator.normal(generator.normal(level, spread), 1, 10) for _ in range(n)]


@QUICK
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_interquartile_mean_is_the_mean_with_a_quarter_trimmed_at_either_end(returns: list[float]) -> None:
    assert scores.interquartile_mean(returns) == pytest.approx(scipy.stats.trim_mean(returns, 0.25), abs=1e-6)


def test_interquartile_mean_ignores_one_lucky_episode() -> None:
    assert scores.interquartile_mean([1, 2, 3, 1000]) == 2.5


@pytest.mark.parametrize("returns", [[5.0], [3.0] * 10])
def test_what_does_not_vary_has_no_interval(returns: list[float]) -> None:
    assert scores.estimate(returns, scores.mean) == Estimate(returns[0], None, None, len(returns))


def test_interval_holds_the_true_mean_about_19_times_of_20() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(80):
        found = scores.estimate(generator.normal(7, 3, 30), scores.mean)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 7 <= found.high
    assert 0.88 <= held / 80 <= 0.99


def test_interval_is_the_same_for_the_same_seed_only() -> None:
    returns = np.random.default_rng(0).normal(size=20)
    first = scores.estimate(returns, scores.interquartile_mean, seed=3)
    assert first == scores.estimate(returns, scores.interquartile_mean, seed=3)
    assert first != scores.estimate(returns, scores.interquartile_mean, seed=4)


def test_an_estimate_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.estimate([1.0, 2.0], scores.mean).value = 3.0


def test_seeds_are_resampled_and_episodes_within_them() -> None:
    seeds = [[0, 2], [10, 12], [20, 22]]
    whole = scores.estimate_over_seeds(seeds, scores.mean, copies=True)
    assert whole == Estimate(11.0, 1.0, 21.0, 3), (
        "copies: whole seeds, from three times the worst to three times the best"
    )
    assert scores.estimate_over_seeds(seeds, scores.mean) == Estimate(11.0, 0.0, 22.0, 3)


def test_more_episodes_of_the_same_seeds_do_not_make_up_for_seeds() -> None:
    many = scores.estimate_over_seeds([[0, 2] * 500, [10, 12] * 500, [20, 22] * 500], scores.mean)
    assert (many.low, many.high) == (pytest.approx(1, abs=0.2), pytest.approx(21, abs=0.2))


def test_one_seed_has_no_interval_whatever_its_number_of_episodes() -> None:
    assert scores.estimate_over_seeds([range(100)], scores.mean) == Estimate(49.5, None, None, 1)


def test_seeds_may_have_different_numbers_of_episodes() -> None:
    found = scores.estimate_over_seeds([[0.0], [3.0, 3.0, 3.0]], scores.mean)
    assert (found.value, found.low, found.high, found.n) == (2.25, 0.0, 3.0, 2)


@QUICK
@given(SEEDS, SEEDS)
def test_probability_of_improvement_counts_pairs_of_episodes(a: list[list[int]], b: list[list[int]]) -> None:
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


def test_probability_of_improvement_over_seeds() -> None:
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


def test_seeds_that_lie_between_those_of_the_other_side_are_not_decided() -> None:
    between, around = [[5], [6], [6], [7]], [[0], [0], [30], [30]]
    for sides in ((between, around), (around, between)):
        found = scores.probability_of_improvement(*sides)
        assert (found.value, found.low, found.high) == (0.5, 0, 1)
    games = scores.games_probability([between] * 2, [around] * 2)
    assert games.low is not None
    assert games.low < 0.5


@pytest.mark.parametrize(("n", "expected"), [(1, 1.0), (2, 2 / 6), (3, 2 / 20), (4, 2 / 70), (5, 2 / 252)])
def test_permutation_p_value_of_seeds_that_do_not_overlap_is_exact(n: int, expected: float) -> None:
    low, high = [[i, i] for i in range(n)], [[i + 50, i + 50] for i in range(n)]
    assert scores.permutation_p_value(high, low) == pytest.approx(expected)
    assert scores.permutation_p_value(low, high) == pytest.approx(expected)


def test_a_p_value_is_as_small_as_it_has_to_be_told() -> None:
    """Ten seeds a side can be dealt out in 184,756 ways, eight in 12,870."""
    low, high = [[i] for i in range(10)], [[i + 50] for i in range(10)]
    assert scores.permutation_p_value(high, low) >= 1 / 10_000
    assert scores.permutation_p_value(high, low, level=1e-4) < 1e-4
    assert scores.permutation_p_value(high[:8], low[:8], level=7e-4) == pytest.approx(2 / 12_870)


def test_many_episodes_are_judged_in_little_memory() -> None:
    """A pipeline may be asked for thousands, whose pairs in all permutations would be gigabytes."""
    a, b = np.random.default_rng(0).normal([[0], [0.3]], 1, (2, 400))
    tracemalloc.start()
    try:
        assert scores.judge_runs("a", a, "b", b).sentence.startswith("b beats a: P = 0.5")
        assert scores.permutation_p_value([[x] for x in a], [[x] for x in b]) < 0.01
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n", [3, 4, 5])
def test_a_p_value_counts_whatever_is_as_far_apart(n: int) -> None:
    """Against whole numbers, which nothing rounds."""
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


def test_many_seeds_are_permuted_at_random_and_alike_every_time() -> None:
    generator = np.random.default_rng(2)
    a, b = _seeds(generator, 12, 0.8), _seeds(generator, 12, 0)
    first = scores.permutation_p_value(a, b, seed=1)
    assert 0 < first < 1
    assert first == scores.permutation_p_value(a, b, seed=1)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_equal_approaches_are_seldom_told_apart_and_good_ones_often(n: int) -> None:
    generator = np.random.default_rng(n)
    wrong = [scores.permutation_p_value(_seeds(generator, n, 0), _seeds(generator, n, 0)) <= 0.05 for _ in range(200)]
    right = [scores.permutation_p_value(_seeds(generator, n, 3), _seeds(generator, n, 0)) <= 0.05 for _ in range(50)]
    assert np.mean(wrong) <= 0.08
    assert np.mean(right) >= 0.7 if n >= 4 else not any(right)


def test_verdict_says_which_is_better_whichever_is_named_first() -> None:
    generator = np.random.default_rng(3)
    tuned, plain = _seeds(generator, 5, 2.5), _seeds(generator, 5, 0)
    found = scores.probability_of_improvement(tuned, plain)
    assert found.low is not None
    assert found.high is not None
    words = f"ppo-tuned beats ppo: P = {found.value:.2f} [{found.low:.2f}, {found.high:.2f}], 5 seeds"
    assert scores.verdict("ppo-tuned", tuned, "ppo", plain) == words
    assert scores.verdict("ppo", plain, "ppo-tuned", tuned).startswith("ppo-tuned beats ppo: P = ")


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([[1, 3]], [[0, 2]], "1 seed cannot tell a and b apart: P = 0.75 between these runs"),
        ([[9, 9]], [[0], [1]], "1 and 2 seeds cannot tell a and b apart: P = 1.00 between these runs"),
        ([[9], [8], [7]], [[1], [2], [3]], "3 seeds cannot tell a and b apart: P = 1.00, p = 0.10"),
        ([[9], [8], [7], [6]], [[1], [2], [3], [4]], "a beats b: P = 1.00, 4 seeds"),
        ([[1], [1]], [[1], [1]], "2 seeds cannot tell a and b apart: P = 0.50, p = 1.00"),
        ([[1, 2]], [[1, 2]], "1 seed cannot tell a and b apart: P = 0.50 between these runs"),
    ],
)
def test_verdict_claims_no_more_than_is_known(a: list[list[int]], b: list[list[int]], words: str) -> None:
    assert scores.verdict("a", a, "b", b) == words


@pytest.mark.parametrize("returns", [[], [1.0, float("nan")], [float("inf")], [[1.0, 2.0]]])
def test_returns_that_are_none_are_refused_in_one_line(returns: list[float]) -> None:
    for refuse in (
        lambda: scores.estimate(returns, scores.mean),
        lambda: scores.interquartile_mean(returns),
        lambda: scores.estimate_over_seeds([[1.0], returns], scores.mean),
        lambda: scores.verdict("a", [[1.0]], "b", [returns]),
    ):
        with pytest.raises(ValueError, match=r"^returns must be [^\n]+$"):
            refuse()


def test_no_seed_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        scores.probability_of_improvement([], [[1.0]])


def test_copies_of_an_episode_are_counted_once() -> None:
    digests = ["b", "a", "b", "c", "a"]
    assert scores.distinct(digests) == 3
    np.testing.assert_array_equal(scores.without_copies([16, 11, 16, 18, 11], digests), [16, 11, 18])
    with pytest.raises(ValueError, match="2 returns need as many RAM digests"):
        scores.without_copies([1, 2], ["a"])


def test_an_interval_of_distinct_episodes_holds_the_value_of_all_of_them() -> None:
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


def test_a_curve_is_read_between_its_points_and_nowhere_else() -> None:
    read = scores.curve_on_grid([20, 10, 30], [2.0, 1.0, 0.0], [5, 10, 15, 25, 30, 31])
    np.testing.assert_array_equal(read, [np.nan, 1.0, 1.5, 1.0, 0.0, np.nan])


def test_of_two_values_at_one_step_the_later_counts() -> None:
    np.testing.assert_array_equal(scores.curve_on_grid([1, 2, 2], [0.0, 5.0, 7.0], [2]), [7.0])


def test_curves_that_cannot_be_read() -> None:
    assert np.isnan(scores.curve_on_grid([], [], [1, 2])).all()
    with pytest.raises(ValueError, match="one value a step"):
        scores.curve_on_grid([1, 2], [1.0], [1])
    with pytest.raises(ValueError, match="finite"):
        scores.curve_on_grid([1, 2], [1.0, float("nan")], [1])


def test_common_grid_is_every_step_or_evenly_spaced_ones() -> None:
    np.testing.assert_array_equal(scores.common_grid([[10, 20], [15, 20]]), [10, 15, 20])
    np.testing.assert_array_equal(scores.common_grid([range(1001)], points=5), [0, 250, 500, 750, 1000])
    assert len(scores.common_grid([])) == 0


def test_band_has_values_only_where_every_seed_has_one() -> None:
    band = scores.band_over_seeds([np.array([1.0, 2.0, 3.0]), np.array([3.0, 6.0, np.nan])])
    np.testing.assert_array_equal(band.value, [2.0, 4.0, np.nan])
    np.testing.assert_array_equal(band.low, [1.0, 2.0, np.nan])
    np.testing.assert_array_equal(band.high, [3.0, 6.0, np.nan])
    alone = scores.band_over_seeds([np.array([1.0, np.nan])])
    np.testing.assert_array_equal([alone.value, alone.low, alone.high], [[1, np.nan], [np.nan] * 2, [np.nan] * 2])
    with pytest.raises(ValueError, match="at least one seed"):
        scores.band_over_seeds([])


def test_band_is_the_interquartile_mean_over_seeds() -> None:
    curves = [np.full(3, value) for value in (0.0, 1.0, 2.0, 99.0)]
    band = scores.band_over_seeds(curves)
    np.testing.assert_array_equal(band.value, [1.5] * 3)
    assert (band.low <= 1).all()
    assert (band.high >= 50).all()


def test_the_first_step_at_a_level() -> None:
    grid, values = np.array([10.0, 20.0, 30.0]), np.array([np.nan, 5.0, 7.0])
    assert scores.first_reached(grid, values, 5) == 20
    assert scores.first_reached(grid, values, 8) is None


def test_profile_is_the_share_of_episodes_above_each_threshold() -> None:
    band = scores.profile([[1, 2, 3, 4], [3, 4]], [0, 1, 2, 3, 4])
    np.testing.assert_allclose(band.value, [1, (0.75 + 1) / 2, (0.5 + 1) / 2, (0.25 + 0.5) / 2, 0])
    assert ((band.low <= band.value) & (band.value <= band.high)).all()
    assert np.isnan(scores.profile([[1, 2]], [1]).low).all(), "one seed has no interval"


def test_one_agent_is_judged_against_another_by_episodes() -> None:
    generator = np.random.default_rng(6)
    good, bad = generator.normal(2, 1, 30), generator.normal(0, 1, 20)
    found = scores.judge_runs("a", bad, "b", good)
    assert found.sentence.startswith("b beats a: P = 0.")
    assert found.sentence.endswith("], 30 and 20 episodes")
    assert found.worse
    assert not scores.judge_runs("b", good, "a", bad).worse
    assert found.p_value == scipy.stats.mannwhitneyu(bad, good).pvalue
    same = scores.judge_runs("a", [1, 1], "b", [1, 1])
    assert (same.sentence, same.worse) == ("2 episodes cannot tell a and b apart: P = 0.50, p = 1.00", False)


# --- known answers ---


def test_the_matrices_that_rliable_is_tested_with() -> None:
    """Rows are runs, columns games: interquartile means 1.5 and 2, probability of improvement 1/3."""
    x, y = np.array([[1, 2], [2, 2], [1, 1], [2, 1]]), np.array([[1, 1], [2, 2], [3, 3]])
    games_x, games_y = ([[[score] for score in game] for game in matrix.T] for matrix in (x, y))
    assert scores.iqm_over_games(games_x).value == 1.5
    assert scores.iqm_over_games(games_y).value == 2
    assert scores.games_probability(games_x, games_y).value == pytest.approx(1 / 3)


def test_human_normalised_scores_are_the_published_ones() -> None:
    """Atari 100k: the mean and the median of SimPLe, OTRainbow, data-efficient Rainbow and CURL over 26 games.

    Per-game scores from CURL's table (Laskin et al. 2020), means and medians from Schwarzer et al. 2021, table 1.
    """
    published = {"SimPLe": (0.443, 0.144), "OTRainbow": (0.264, 0.204), "DER": (0.285, 0.161), "CURL": (0.381, 0.175)}
    table = [line.split() for line in (Path(__file__).parent / "atari100k.txt").read_text().splitlines()[1:]]
    references = [REFERENCES[row[0]] for row in table]
    for column, (mean, median) in enumerate(published.values(), 1):
        of_games = [
            scores.normalized([float(row[column])], reference.random, reference.human)[0]
            for row, reference in zip(table, references, strict=True)
            if reference.random is not None and reference.human is not None
        ]
        assert len(of_games) == 26
        assert np.mean(of_games) == pytest.approx(mean, abs=0.0006)
        assert np.median(of_games) == pytest.approx(median, abs=0.0006)


def test_a_human_no_better_than_chance_is_no_measure() -> None:
    with pytest.raises(ValueError, match="above the random one"):
        scores.normalized([1.0], 5.0, 5.0)


def test_two_seeds_of_two_equal_episodes_have_the_range_as_interval() -> None:
    """Resamples of two values that do not vary within are their mean, or one of them twice: known in advance."""
    assert scores.estimate_over_seeds([[3.0, 3.0], [5.0, 5.0]], scores.mean) == Estimate(4.0, 3.0, 5.0, 2)


# --- what an interval promises ---


def _holds(found: Estimate, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


def test_intervals_over_seeds_hold_the_truth() -> None:
    generator = np.random.default_rng(11)
    held = [
        _holds(scores.estimate_over_seeds(_seeds(generator, 5, 4), scores.interquartile_mean), 4) for _ in range(50)
    ]
    assert np.mean(held) >= 0.88


def test_intervals_of_the_probability_of_improvement_hold_the_truth() -> None:
    """Two normal variables of variance 2 whose means are 1 apart: P is the normal distribution's value at 1/2."""
    generator = np.random.default_rng(12)
    truth = float(scipy.stats.norm.cdf(0.5))
    held = [
        _holds(scores.probability_of_improvement(_seeds(generator, 6, 1), _seeds(generator, 6, 0)), truth)
        for _ in range(100)
    ]
    assert np.mean(held) >= 0.9


def test_intervals_over_games_hold_the_truth() -> None:
    generator = np.random.default_rng(13)
    held = [_holds(scores.iqm_over_games([_seeds(generator, 4, 1), _seeds(generator, 4, 1)]), 1) for _ in range(100)]
    assert np.mean(held) >= 0.9


def test_profiles_hold_the_truth() -> None:
    generator = np.random.default_rng(14)
    thresholds = np.array([-1.0, 0.0, 1.0])
    truth = scipy.stats.norm.sf(thresholds / np.sqrt(2))
    bands = [scores.profile(_seeds(generator, 6, 0), thresholds) for _ in range(60)]
    assert np.mean([(band.low <= truth) & (truth <= band.high) for band in bands]) >= 0.9


def test_equal_approaches_are_seldom_told_apart_over_games() -> None:
    generator = np.random.default_rng(15)

    def games(n: int, level: float) -> list[list[np.ndarray]]:
        return [_seeds(generator, n, level), _seeds(generator, n, level)]

    wrong = [scores.games_p_value(games(4, 0), games(4, 0)) <= 0.05 for _ in range(100)]
    right = [scores.games_p_value(games(4, 3), games(4, 0)) <= 0.05 for _ in range(40)]
    assert np.mean(wrong) <= 0.1
    assert np.mean(right) >= 0.7
    assert scores.games_p_value(games(1, 9), games(1, 0)) == 1, "one seed a game shows nothing"


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([[[9], [8]], [[9], [8]]], [[[1], [2]], [[1], [2]]], "2 games, 2 seeds cannot tell a and b apart"),
        ([[[1]], [[2]]], [[[3]], [[4]]], "2 games, 1 seed cannot tell b and a apart: P = 1.00 between these runs"),
        ([[[9], [8], [7]]] * 2, [[[1], [2], [3]]] * 2, "a beats b: P = 1.00, 2 games, 3 seeds"),
    ],
)
def test_verdict_over_games(a: list[list[list[int]]], b: list[list[list[int]]], words: str) -> None:
    assert scores.judge_games("a", a, "b", b).sentence.startswith(words)


def test_games_are_not_decided_by_pairs_that_say_the_opposite_of_all_seeds() -> None:
    """Every seed that is tested favours a, and those that are left over turn the probability to b's side."""
    a, b = [[5], [6], [5.5]], [[0], [1], [2], [9], [8], [7], [9.5]]
    assert scores.games_p_value([a, a], [b[:3], b[:3]]) == 2 / 64
    for found in (scores.judge_games("a", [a, a], "b", [b, b]), scores.judge_games("b", [b, b], "a", [a, a])):
        assert found.p_value == 1
        assert not found.decided
        assert not found.worse
        assert found.sentence.startswith("2 games, 7 and 3 seeds cannot tell b and a apart")


def test_games_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="the same games"):
        scores.judge_games("a", [[[1]]], "b", [])
    with pytest.raises(ValueError, match="at least one game"):
        scores.iqm_over_games([])
