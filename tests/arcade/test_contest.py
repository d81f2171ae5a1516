"""A champion is beaten by play that is better, not by luck; one that plays worse is found out."""

from __future__ import annotations

import numpy as np

from tasks.arcade.contest import Played, chance, collapsed, decide, suspicious
from tasks.arcade.evaluation import EpisodeScore, Evaluation
from tasks.arcade.settings import EvaluationSettings

DIGEST = "0" * 64


def episodes(returns: list[float], copies: bool = False) -> tuple[EpisodeScore, ...]:
    return tuple(
        EpisodeScore(
            seed=number,
            episode_return=value,
            length=10,
            frames=40,
            ended="terminated",
            ram_digest=DIGEST if copies else f"{number:064x}",
        )
        for number, value in enumerate(returns)
    )


def playing(mean: float, n: int = 30, seed: int = 0) -> Played:
    returns = np.random.default_rng(seed).normal(mean, 3, n).tolist()
    return Played(checkpoint=DIGEST, episodes=episodes(returns))


def evaluation(step: int, mean: float) -> Evaluation:
    returns = np.random.default_rng(step).normal(mean, 3, 20).tolist()
    return Evaluation(
        checkpoint=DIGEST,
        step=step,
        settings=EvaluationSettings(episodes=20),
        episodes=episodes(returns),
        filmed=0,
        film_frames=1,
    )


def test_a_better_one_wins_and_an_equal_one_does_not() -> None:
    assert decide(playing(10), playing(0, seed=1)).won
    assert not decide(playing(0), playing(10, seed=1)).won
    assert not decide(playing(5), playing(5, seed=1)).won
    assert decide(playing(5), None).won, "the first of its game"


def test_chance_alone_seldom_makes_a_champion() -> None:
    won = sum(decide(playing(5, seed=2 * n), playing(5, seed=2 * n + 1)).won for n in range(40))
    assert won <= 5, "one in twenty, by the tests' own measure"


def test_copies_of_an_episode_prove_nothing() -> None:
    copied = Played(checkpoint=DIGEST, episodes=episodes([20.0] * 30, copies=True))
    assert chance(copied, playing(0)) > 0.01


def test_a_drop_is_suspicious_and_luck_is_not() -> None:
    assert suspicious(playing(0), playing(10, seed=1))
    assert not suspicious(playing(10), playing(10, seed=1))
    assert not suspicious(playing(12), playing(10, seed=1))


def test_a_training_that_has_lost_what_it_had_gained_has_collapsed() -> None:
    rising = [evaluation(step, mean) for step, mean in ((1, -20), (2, -5), (3, 10))]
    assert collapsed(rising) == ""
    assert "after" in collapsed([*rising, evaluation(4, -19)])
    assert collapsed([*rising, evaluation(4, 9)]) == ""
