"""Milestones are reached once, and not by chance."""

import pytest

from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.episodes.milestones import EvaluatedCheckpoint, evaluated_checkpoint, new_milestones
from tasks.arcade.scores import Estimate
from tasks.arcade.settings.evaluation import EvaluationSettings


def names(step: int, mean: float, spread: float, rom: str = "pong", best: float | None = None, before=()) -> set[str]:
    estimate = Estimate(mean, mean - spread, mean + spread, 10)
    return {
        one.name
        for one in new_milestones(EvaluatedCheckpoint(step=step, mean=estimate, rom=rom, best_before=best), before)
    }


@pytest.mark.parametrize(
    ("step", "mean", "spread", "expected"),
    [
        (999_999, -20.7, 0.5, set()),
        (999_999, -19.9, 0.9, set()),  # above random, but by chance
        (999_999, -19.9, 0.5, {"above-random"}),
        (1_000_000, -20.7, 0.5, {"steps-1000000"}),
        (3_500_000, 0.0, 1.0, {"steps-3000000", "above-random", "return-0", "human-0.25", "human-0.5"}),
        (10, 19.0, 1.0, {"above-random", "return-0", "return-18", "human-0.25", "human-0.5", "human-1"}),
    ],
)
def test_a_checkpoint_reaches_milestones(step: int, mean: float, spread: float, expected: set[str]) -> None:
    assert names(step, mean, spread) == expected


def test_a_human_normalized_score_is_the_published_formula() -> None:
    half = (14.6 + -20.7) / 2
    assert "human-0.5" in names(1, half, 1.0)
    assert "human-0.5" not in names(1, half - 0.01, 1.0)


def test_each_milestone_is_reached_once() -> None:
    first = names(1_000_000, 19.0, 1.0)
    assert names(1_999_999, 20.0, 1.0, before=first) == set()
    assert names(2_000_000, 20.0, 1.0, before=first) == {"steps-2000000"}


def test_a_new_best_is_significant() -> None:
    assert "best-7" not in names(7, 5.0, 1.0, best=None), "the first checkpoint of a game is not a new best"
    assert "best-7" not in names(7, 5.0, 1.0, best=4.5)
    assert "best-7" in names(7, 5.0, 1.0, best=3.9)


def test_a_game_without_published_figures_has_the_other_milestones() -> None:
    assert names(2_000_000, 1e6, 1.0, rom="tetris", best=0.0) == {"steps-2000000", "best-2000000"}


def test_distinct_episodes_of_equal_return_are_significant() -> None:
    perfect = EvaluatedCheckpoint(step=1, mean=Estimate(21.0, None, None, 10), rom="pong", best_before=20.9)
    assert {"above-random", "best-1"} <= {one.name for one in new_milestones(perfect, ())}
    equal = EvaluatedCheckpoint(step=1, mean=Estimate(21.0, None, None, 10), rom="pong", best_before=21.0)
    assert "best-1" not in {one.name for one in new_milestones(equal, ())}


def test_identical_episodes_have_no_interval_and_are_not_significant() -> None:
    at = EvaluatedCheckpoint(step=1, mean=Estimate(21.0, None, None, 1), rom="pong", best_before=3.0)
    assert {one.name for one in new_milestones(at, ())} == {
        "return-0",
        "return-18",
        "human-0.25",
        "human-0.5",
        "human-1",
    }


def test_the_mean_is_the_logged_mean_reward() -> None:
    results = [(0.0, str(number)) for number in range(9)] + [(100.0, "again")] * 41
    episodes = tuple(
        EpisodeResult(seed=0, episode_return=value, length=1, frames=4, ram_digest=digest, ended="terminated")
        for value, digest in results
    )
    evaluation = Evaluation(
        checkpoint="c" * 64, step=1, settings=EvaluationSettings(), episodes=episodes, recorded=0, video_frames=1
    )
    assert (
        evaluated_checkpoint(evaluation, "breakout", None).mean.value == evaluation.metrics()["eval/mean_reward"] == 82
    )
