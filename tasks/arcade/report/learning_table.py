"""The learning benchmark's table: mean returns by game and approach, next to published ones."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.scores.published import MILESTONE_RETURNS, REFERENCES
from tasks.arcade.settings.base import Settings


class LearningScore(Settings):
    """Result of one training run.

    Attributes:
        final: mean unclipped return of the last checkpoint's evaluation episodes.
        reached: step at which the mean of the last 100 training episodes first reached each milestone return of the
            game, or None.
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


def steps_to_milestones(rom: str, curve: Sequence[tuple[int, float]]) -> dict[str, int | None]:
    """Return the step at which a training curve first reached each milestone return of its game, or None.

    Args:
        rom: ALE's ROM name.
        curve: (step, mean return) points in ascending order of steps.
    """
    return {
        f"{level:g}": next((step for step, value in curve if value >= level), None)
        for level in MILESTONE_RETURNS.get(rom, ())
    }


def learning_table(scores: Sequence[LearningScore]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows, one per game and approach, with each seed's final return and their mean."""
    header = ["game", "approach", "steps", "final return by seed", "mean", "first reached"]
    header += ["random", "human", "pixels, 10M"]
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
    return header, rows


def _by_seed(level: str, group: Sequence[LearningScore]) -> str:
    steps = (score.reached[level] for score in group)
    return ", ".join("-" if step is None else f"{step / 1000:,.0f}k" for step in steps)
