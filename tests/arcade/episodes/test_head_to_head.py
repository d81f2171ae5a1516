"""A champion is beaten, and play has dropped, by more than chance only."""

import numpy as np
import pytest

from tasks.arcade.episodes.evaluation import EpisodeScore, Evaluation
from tasks.arcade.episodes.head_to_head import Played, chance, collapsed, decide, suspicious
from tasks.arcade.settings.evaluation import EvaluationSettings


def played(returns, copies: bool = False) -> Played:
    return Played(
        checkpoint="c" * 64,
        episodes=tuple(
            EpisodeScore(
                seed=seed,
                episode_return=value,
                length=10,
                frames=40,
                ram_digest="same" if copies else str(seed),
                ended="terminated",
            )
            for seed, value in enumerate(returns)
        ),
    )


def drawn(mean: float, seed: int, n: int = 30) -> Played:
    return played(np.random.default_rng(seed).normal(mean, 3.0, n).round(1).tolist())


def evaluation(step: int, mean: float, seed: int) -> Evaluation:
    return Evaluation(
        checkpoint="c" * 64,
        step=step,
        settings=EvaluationSettings(),
        episodes=drawn(mean, seed, 10).episodes,
        recorded=0,
        video_frames=1,
    )


def test_the_better_one_wins_and_is_told_with_both_means() -> None:
    contest = decide(drawn(10, 1), drawn(5, 2))
    assert contest.won
    assert contest.words.startswith("beats the champion: mean return 9.")
    assert "30 episodes each, p = 0.0001" in contest.words


def test_the_worse_one_does_not_win_and_neither_does_an_equal_one() -> None:
    assert not decide(drawn(5, 1), drawn(10, 2)).won
    wins = sum(decide(drawn(5, 2 * seed), drawn(5, 2 * seed + 1)).won for seed in range(20))
    assert wins <= 3, "about one in forty by chance"


def test_without_a_champion_anyone_wins() -> None:
    contest = decide(drawn(5, 1), None, "the champion cannot play")
    assert contest.won
    assert contest.words.startswith("the champion cannot play: mean return")


def test_copies_of_one_episode_are_no_evidence() -> None:
    assert chance(played([10.0] * 30, copies=True), played([5.0] * 30, copies=True)) == 1.0
    assert not decide(played([10.0] * 30, copies=True), drawn(5, 1)).won


def test_a_drop_is_suspicious_and_a_rise_is_not() -> None:
    assert suspicious(drawn(5, 1), before=drawn(10, 2))
    assert not suspicious(drawn(10, 1), before=drawn(5, 2))
    alarms = sum(suspicious(drawn(5, 2 * seed), before=drawn(5, 2 * seed + 1)) for seed in range(40))
    assert alarms <= 2


@pytest.mark.parametrize(
    ("means", "has"),
    [
        ((0, 10, 20, 2), True),
        ((0, 10, 20, 15), False),  # something was lost, most was kept
        ((0, 10, 20, 21), False),
        ((5, 5, 5, 5), False),
        ((20, 1), False),  # two checkpoints are no curve
    ],
)
def test_a_training_has_collapsed_when_most_of_its_gain_is_lost(means: tuple[int, ...], has: bool) -> None:
    curve = [evaluation(100 * at, mean, seed=at) for at, mean in enumerate(means, 1)]
    assert bool(collapsed(curve)) is has
    if has:
        assert "at step 300" in collapsed(curve)


def test_a_collapse_is_seen_however_many_checkpoints_came_before() -> None:
    rising = [evaluation(100 * at, 10 * at, seed=at) for at in range(1, 61)]
    assert "at step 6,000" in collapsed([*rising, evaluation(6100, 0, seed=99)])
