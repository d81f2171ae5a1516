"""The learning benchmark's table: mean returns by game and approach, next to published ones."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

import numpy as np

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.scores.published import MILESTONE_RETURNS, REFERENCES
from tasks.arcade.scores.published_scores import (
    STICKY_PROBABILITY,
    median_normalized_at,
    normalized_score,
    scores_at,
)
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings


class LearningScore(Settings):
    """Result of one training run.

    Attributes:
        frames: emulated frames of training with sticky actions as in `scores_at`; None with others, or if the frame
            skip is random.
        final: mean unclipped return of the last checkpoint's evaluation episodes.
        commit: commit of the code that trained it; None if unknown.
        machine: processor and CPU cores of the machine that trained it; None if unknown.
        date: day on which its training ended, UTC; None if unknown.
        reached: step at which the mean of the last 100 training episodes first reached each milestone return of the
            game, or None.
    """

    env_id: str
    rom: str
    approach: str
    seed: int
    run_id: str
    steps: int
    frames: int | None
    episodes: int
    final: float
    commit: str | None = None
    machine: str | None = None
    date: datetime.date | None = None
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


def frames_of(steps: int, game: GameSettings) -> int | None:
    """Return the frames of `LearningScore`."""
    if not isinstance(game.frame_skip, int) or game.repeat_action_probability != STICKY_PROBABILITY:
        return None
    return steps * game.frame_skip


def learning_table(scores: Sequence[LearningScore]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows, one per game and approach, with each seed's final return and their mean."""
    header = ["game", "approach", "steps", "final return by seed", "mean", "human-normalized", "first reached"]
    header += ["published, equal frames", "ahead of", "random", "human", "PPO from pixels, 10M steps, not sticky"]
    rows = []
    for group in _groups(scores):
        first, mean = group[0], _mean(group)
        reference = REFERENCES.get(first.rom)
        published = (reference.random, reference.human, reference.pixels_ppo) if reference else (None, None, None)
        equal = scores_at(first.rom, first.frames) if first.frames else {}
        normalized = normalized_score(first.rom, mean)
        rows.append(
            [
                first.env_id,
                first.approach,
                f"{first.steps:,}",
                ", ".join(f"{score.final:.1f}" for score in group),
                f"{mean:.1f}",
                "-" if normalized is None else f"{normalized:.2f}",
                "; ".join(f"{level}: {_by_seed(level, group)}" for level in first.reached) or "-",
                _best(equal),
                f"{sum(mean > score for score in equal.values())} of {len(equal)}" if equal else "-",
                *("-" if value is None else f"{value:g}" for value in published),
            ]
        )
    return header, rows


def learning_summary(scores: Sequence[LearningScore]) -> list[str]:
    """Return a sentence per approach: its median human-normalized score over several games, next to published ones.

    Runs of different lengths are different approaches here.
    """
    sentences = []
    for approach, steps in dict.fromkeys((score.approach, score.steps) for score in scores):
        groups = [group for group in _groups(scores) if (group[0].approach, group[0].steps) == (approach, steps)]
        games = tuple(group[0].rom for group in groups)
        normalized = [normalized_score(group[0].rom, _mean(group)) for group in groups]
        known = [value for value in normalized if value is not None]
        if len(groups) < 2 or len(known) < len(groups):
            continue
        median = float(np.median(known))
        sentence = f"{approach}: median human-normalized score {median:.2f} over {pluralize(len(games), 'game')}"
        sentence += f" after {steps:,} steps" if len({score.steps for score in scores}) > 1 else ""
        all_frames = {group[0].frames for group in groups}
        frames = all_frames.pop() if len(all_frames) == 1 else None
        published = median_normalized_at(games, frames) if frames else {}
        if published:
            ahead = sum(median > other for other in published.values())
            sentence += (
                f", ahead of {ahead} of {pluralize(len(published), 'published agent')} after {frames:,} frames "
                f"(best: {_best(published, '.2f')})"
            )
        sentences.append(sentence)
    return sentences


def _groups(scores: Sequence[LearningScore]) -> list[list[LearningScore]]:
    """Return the scores of each game, approach and number of steps, one per seed."""
    groups: dict[tuple[str, str, int], list[LearningScore]] = {}
    for score in scores:
        groups.setdefault((score.env_id, score.approach, score.steps), []).append(score)
    return list(groups.values())


def _mean(group: Sequence[LearningScore]) -> float:
    return sum(score.final for score in group) / len(group)


def _best(published: Mapping[str, float], format_spec: str = "g") -> str:
    """Return the best published score with its agent."""
    if not published:
        return "-"
    agent = max(published, key=lambda name: published[name])
    return f"{published[agent]:{format_spec}}, {agent}"


def _by_seed(level: str, group: Sequence[LearningScore]) -> str:
    steps = (score.reached[level] for score in group)
    return ", ".join("-" if step is None else f"{step / 1000:,.0f}k" for step in steps)
