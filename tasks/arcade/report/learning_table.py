"""The learning benchmark's table: mean returns by game and approach, beside what is published."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.scores.published import REFERENCES, RETURNS
from tasks.arcade.settings.base import Settings


class LearningScore(Settings):
    """What one training came to.

    Attributes:
        final: mean unclipped return of the last checkpoint's episodes on fresh seeds.
        reached: steps at which the mean of the last 100 training episodes first reached each return that is a milestone
            of its game, if it did.
    """

    env_id: str
    rom: str
    approach: str
    seed: int
    run_id: str
    steps: int
    episodes: int
    final: float
    reached: dict[str, int | None]


def first_reached(rom: str, curve: Sequence[tuple[int, float]]) -> dict[str, int | None]:
    """The steps at which a training first reached the returns that are milestones of its game.

    Args:
        rom: ALE's name of the game.
        curve: (step, mean return), by step.
    """
    return {
        f"{level:g}": next((step for step, value in curve if value >= level), None) for level in RETURNS.get(rom, ())
    }


def learning_table(scores: Sequence[LearningScore]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: one row a game and approach, each seed's final return beside their mean."""
    heads = ["game", "approach", "steps", "final return by seed", "mean", "first reached"]
    heads += ["random", "human", "pixels, 10M"]
    groups = dict.fromkeys((score.env_id, score.approach) for score in scores)
    rows = []
    for env_id, approach in groups:
        group = [score for score in scores if (score.env_id, score.approach) == (env_id, approach)]
        reference = REFERENCES.get(group[0].rom)
        published = (reference.random, reference.human, reference.pixels_ppo) if reference else (None, None, None)
        rows.append(
            [
                env_id,
                approach,
                f"{group[0].steps:,}",
                ", ".join(f"{score.final:.1f}" for score in group),
                f"{sum(score.final for score in group) / len(group):.1f}",
                "; ".join(f"{level}: {_by_seed(level, group)}" for level in group[0].reached) or "-",
                *("-" if value is None else f"{value:g}" for value in published),
            ]
        )
    return heads, rows


def _by_seed(level: str, group: Sequence[LearningScore]) -> str:
    steps = (score.reached[level] for score in group)
    return ", ".join("-" if step is None else f"{step / 1000:,.0f}k" for step in steps)
