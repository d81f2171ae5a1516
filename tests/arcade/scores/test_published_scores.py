"""Published scores at equal frames and protocol."""

from __future__ import annotations

import pytest

from tasks.arcade.report.learning_table import LearningScore, learning_summary, learning_table
from tasks.arcade.scores.published import REFERENCES
from tasks.arcade.scores.published_scores import (
    median_normalized_at,
    published_curve,
    published_scores,
    scores_at,
)

GAMES = ("pong", "breakout", "boxing", "freeway", "space_invaders", "seaquest", "ms_pacman", "qbert")


def test_every_row_names_game_protocol_and_source() -> None:
    rows = published_scores()
    assert {row.game for row in rows} == set(GAMES) <= REFERENCES.keys()
    assert all(row.agent and row.protocol and row.source for row in rows)
    assert len({(row.game, row.agent, row.protocol, row.frames) for row in rows}) == len(rows)


def test_sixteen_agents_have_a_score_at_equal_frames() -> None:
    for game in GAMES:
        assert len(scores_at(game, 8_000_000)) == 16
    assert scores_at("pong", 8_000_000)["IQN, Impala CNN (Dopamine)"] == 18.28
    whole_rollouts = 489 * 4096 * 4
    assert scores_at("pong", whole_rollouts) == scores_at("pong", 8_000_000)
    assert scores_at("pong", 7_900_000) == scores_at("pong", 8_100_000) == {}
    assert scores_at("tetris", 8_000_000) == {}


def test_median_over_games_is_the_published_one() -> None:
    medians = median_normalized_at(GAMES, 8_000_000)
    assert len(medians) == 16
    assert max(medians.values()) == pytest.approx(0.82, abs=0.005)
    assert medians["Rainbow, Nature CNN (Dopamine)"] == pytest.approx(0.62, abs=0.005)


def test_published_curve_ends_with_the_frames_trained() -> None:
    assert [point.frames for point in published_curve("qbert", 10_000_000)] == [2_000_000, 8_000_000, 10_000_000]
    assert published_curve("qbert", 1_999_999) == ()


def score(game: str, rom: str, seed: int, final: float, frames: int | None = 8_000_000) -> LearningScore:
    return LearningScore(
        env_id=f"ALE/{game}-v5", rom=rom, approach="ppo-tuned", seed=seed, run_id="a", steps=2_000_000, frames=frames,
        episodes=30, final=final, reached={},
    )  # fmt: skip


def test_learning_table_compares_at_equal_frames() -> None:
    scores = [score("Pong", "pong", 1, 18.4), score("Pong", "pong", 2, 15.6), score("Qbert", "qbert", 1, 2858.1)]
    header, rows = learning_table(scores)
    pong, qbert = (dict(zip(header, row, strict=True)) for row in rows)
    assert (pong["mean"], pong["human-normalized"], pong["ahead of"]) == ("17.0", "1.07", "14 of 16")
    assert pong["published, equal frames"] == "18.28, IQN, Impala CNN (Dopamine)"
    assert qbert["ahead of"] == "7 of 16"
    (sentence,) = learning_summary(scores)
    assert sentence.startswith("ppo-tuned: median human-normalized score 0.64 over 2 games, ahead of ")
    assert " of 16 published agents after 8,000,000 frames (best: " in sentence
    assert learning_summary(scores[:2]) == [], "one game has no median"
    (other,) = learning_summary([score("Pong", "pong", 1, 18.4, None), score("Qbert", "qbert", 1, 2858.1, None)])
    assert other.endswith("over 2 games"), "another protocol is not compared"
