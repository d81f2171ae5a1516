"""Milestones are reached when they are reached, once, and not by chance."""

import pytest

from tasks.arcade.episodes.evaluation import EpisodeScore, Evaluation
from tasks.arcade.episodes.milestones import Reached, facts, reached
from tasks.arcade.scores import Estimate
from tasks.arcade.settings.evaluation import EvaluationSettings


def names(step: int, mean: float, spread: float, rom: str = "pong", best: float | None = None, before=()) -> set[str]:
    estimate = Estimate(mean, mean - spread, mean + spread, 10)
    return {one.name for one in reached(Reached(step=step, mean=estimate, rom=rom, best_before=best), before)}


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
def test_what_a_checkpoint_reaches(step: int, mean: float, spread: float, expected: set[str]) -> None:
    assert names(step, mean, spread) == expected


def test_a_human_normalised_score_is_the_published_formula() -> None:
    half = (14.6 + -20.7) / 2
    assert "human-0.5" in names(1, half, 1.0)
    assert "human-0.5" not in names(1, half - 0.01, 1.0)


def test_each_is_reached_once() -> None:
    first = names(1_000_000, 19.0, 1.0)
    assert names(1_999_999, 20.0, 1.0, before=first) == set()
    assert names(2_000_000, 20.0, 1.0, before=first) == {"steps-2000000"}


def test_a_new_best_is_one_that_chance_does_not_explain() -> None:
    assert "best-7" not in names(7, 5.0, 1.0, best=None), "the first of its game has nothing to be better than"
    assert "best-7" not in names(7, 5.0, 1.0, best=4.5)
    assert "best-7" in names(7, 5.0, 1.0, best=3.9)


def test_a_game_without_published_figures_has_the_other_milestones() -> None:
    assert names(2_000_000, 1e6, 1.0, rom="tetris", best=0.0) == {"steps-2000000", "best-2000000"}


def test_several_episodes_of_one_return_are_perfect_play_and_no_chance() -> None:
    perfect = Reached(step=1, mean=Estimate(21.0, None, None, 10), rom="pong", best_before=20.9)
    assert {"above-random", "best-1"} <= {one.name for one in reached(perfect, ())}
    equal = Reached(step=1, mean=Estimate(21.0, None, None, 10), rom="pong", best_before=21.0)
    assert "best-1" not in {one.name for one in reached(equal, ())}


def test_episodes_that_are_all_one_have_no_interval_and_prove_nothing() -> None:
    at = Reached(step=1, mean=Estimate(21.0, None, None, 1), rom="pong", best_before=3.0)
    assert {one.name for one in reached(at, ())} == {"return-0", "return-18", "human-0.25", "human-0.5", "human-1"}


def test_the_mean_is_the_one_that_the_metrics_have() -> None:
    played = [(0.0, str(number)) for number in range(9)] + [(100.0, "again")] * 41
    episodes = tuple(
        EpisodeScore(seed=0, episode_return=value, length=1, frames=4, ram_digest=digest, ended="terminated")
        for value, digest in played
    )
    evaluation = Evaluation(
        checkpoint="c" * 64, step=1, settings=EvaluationSettings(), episodes=episodes, recorded=0, video_frames=1
    )
    assert facts(evaluation, "breakout", None).mean.value == evaluation.metrics()["eval/mean_reward"] == 82
