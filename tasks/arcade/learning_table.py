"""The learning benchmark's table: mean returns by game and approach, beside what is published."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.references import REFERENCES
from tasks.arcade.settings import Settings


class LearningScore(Settings):
    """What one training came to.

    Attributes:
        final: mean unclipped return of the last checkpoint's episodes on fresh seeds.
        reached: steps at which the mean of the last 100 training episodes first reached each threshold, if it did.
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


def learning_table(scores: Sequence[LearningScore]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: one row a game and approach, each seed's final return beside their mean."""
    thresholds = list(scores[0].reached)
    heads = ["game", "approach", "steps", "final return by seed", "mean", *(f"first {one}" for one in thresholds)]
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
                *(", ".join(_steps(score.reached[one]) for score in group) for one in thresholds),
                *("-" if value is None else f"{value:g}" for value in published),
            ]
        )
    return heads, rows


def _steps(step: int | None) -> str:
    return "-" if step is None else f"{step / 1000:,.0f}k"
