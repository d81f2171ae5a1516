"""A champion is beaten, and a drop is detected, only if the difference is significant."""

import numpy as np
import pytest

from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.episodes.head_to_head import (
    EpisodeSample,
    HeadToHead,
    compare_head_to_head,
    describe_collapse,
    has_dropped,
    improvement_p_value,
)
from tasks.arcade.settings.base import parse_json
from tasks.arcade.settings.evaluation import EvaluationSettings


def sample(returns, copies: bool = False) -> EpisodeSample:
    return EpisodeSample(
        checkpoint="c" * 64,
        episodes=tuple(
            EpisodeResult(
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


def normal_sample(mean: float, seed: int, n: int = 30) -> EpisodeSample:
    return sample(np.random.default_rng(seed).normal(mean, 3.0, n).round(1).tolist())


def evaluation(step: int, mean: float, seed: int) -> Evaluation:
    return Evaluation(
        checkpoint="c" * 64,
        step=step,
        settings=EvaluationSettings(),
        episodes=normal_sample(mean, seed, 10).episodes,
        recorded=0,
        video_frames=1,
    )


def test_the_better_checkpoint_wins_and_the_summary_has_both_means() -> None:
    result = compare_head_to_head(normal_sample(10, 1), normal_sample(5, 2))
    assert result.won
    assert result.summary.startswith("beats the champion: mean return 9.")
    assert "30 episodes each, p = 0.0001" in result.summary


def test_a_worse_or_equal_checkpoint_does_not_win() -> None:
    assert not compare_head_to_head(normal_sample(5, 1), normal_sample(10, 2)).won
    wins = sum(
        compare_head_to_head(normal_sample(5, 2 * seed), normal_sample(5, 2 * seed + 1)).won for seed in range(20)
    )
    assert wins <= 3, "about one in forty by chance"


def test_without_a_champion_the_challenger_wins() -> None:
    result = compare_head_to_head(normal_sample(5, 1), None, "the champion cannot play")
    assert result.won
    assert result.summary.startswith("the champion cannot play: mean return")


def test_identical_episodes_are_not_significant() -> None:
    assert improvement_p_value(sample([10.0] * 30, copies=True), sample([5.0] * 30, copies=True)) == 1.0
    assert not compare_head_to_head(sample([10.0] * 30, copies=True), normal_sample(5, 1)).won


def test_a_drop_is_detected_and_a_rise_is_not() -> None:
    assert has_dropped(normal_sample(5, 1), before=normal_sample(10, 2))
    assert not has_dropped(normal_sample(10, 1), before=normal_sample(5, 2))
    alarms = sum(has_dropped(normal_sample(5, 2 * seed), before=normal_sample(5, 2 * seed + 1)) for seed in range(40))
    assert alarms <= 2


@pytest.mark.parametrize(
    ("means", "has"),
    [
        ((0, 10, 20, 2), True),
        ((0, 10, 20, 15), False),  # something was lost, most was kept
        ((0, 10, 20, 21), False),
        ((5, 5, 5, 5), False),
        ((20, 1), False),  # two checkpoints are too few
    ],
)
def test_a_run_has_collapsed_when_most_of_its_gain_is_lost(means: tuple[int, ...], has: bool) -> None:
    curve = [evaluation(100 * at, mean, seed=at) for at, mean in enumerate(means, 1)]
    assert bool(describe_collapse(curve)) is has
    if has:
        assert "at step 300" in describe_collapse(curve)


def test_a_collapse_is_detected_after_many_checkpoints() -> None:
    rising = [evaluation(100 * at, 10 * at, seed=at) for at in range(1, 61)]
    assert "at step 6,000" in describe_collapse([*rising, evaluation(6100, 0, seed=99)])


def test_a_result_with_the_former_summary_field_is_read() -> None:
    result = compare_head_to_head(normal_sample(10, 1), None)
    former = result.model_dump_json().replace('"summary"', '"words"')
    assert parse_json(HeadToHead, former.encode()) == result
