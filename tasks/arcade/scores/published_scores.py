"""Published scores by game, agent, protocol and frames, from `atari_scores.csv`, where each row names its source."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from tasks.arcade.scores.estimates import human_normalized
from tasks.arcade.scores.published import REFERENCES
from tasks.arcade.settings.base import Settings

STICKY_PROBABILITY = 0.25
"""Probability of sticky actions in the protocol of `scores_at`, that of the ids `ALE/...-v5`."""
_TOLERANCE = 0.005
"""Share by which numbers of frames may differ in `scores_at`."""
_PROTOCOL = (
    "sticky actions 0.25, whole games, mean training return of one million frames, epsilon 0.01, 5 seeds"  # Dopamine's
)
_FILE = Path(__file__).with_name("atari_scores.csv")


class PublishedScore(Settings):
    """A row of the file.

    Attributes:
        game: ALE's ROM name.
        frames: Emulated frames of training: steps times frame skip.
        score: Mean unclipped return.
    """

    game: str
    agent: str
    protocol: str
    frames: int
    score: float
    source: str


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """Return all rows of the file, in its order."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(PublishedScore.model_validate(row) for row in csv.DictReader(file))


@cache
def scores_at(game: str, frames: int) -> Mapping[str, float]:
    """Return the scores of agents that were trained for as many frames with whole games and sticky actions.

    The protocol is that of Dopamine's baselines (Castro et al. 2018, arXiv 1812.06110): sixteen agents that learn from
    pixels, the mean return of the training episodes of one million frames, five seeds.

    Args:
        game: ALE's ROM name.
        frames: Emulated frames of training; the file's may differ by less than half a percent, because training ends
            with a whole rollout.

    Returns:
        Scores by agent; empty if the file has none for this number of frames.
    """
    return {
        row.agent: row.score
        for row in published_scores()
        if (row.game, row.protocol) == (game, _PROTOCOL) and abs(row.frames - frames) < _TOLERANCE * frames
    }


def published_frames(game: str) -> tuple[int, ...]:
    """Return the numbers of frames that `scores_at` has scores for, in ascending order."""
    return tuple(sorted({row.frames for row in published_scores() if (row.game, row.protocol) == (game, _PROTOCOL)}))


class PublishedPoint(Settings):
    """Scores of `scores_at` after some frames.

    Attributes:
        best: Highest score.
        agent: Agent with the highest score.
        median: Median score over the agents.
        n_agents: Number of agents.
    """

    frames: int
    best: float
    agent: str
    median: float
    n_agents: int


def published_curve(game: str, max_frames: int) -> tuple[PublishedPoint, ...]:
    """Return the best and the median published score at every number of frames up to `max_frames`."""
    points = []
    for frames in published_frames(game):
        scores = scores_at(game, frames)
        agent = max(scores, key=lambda name: scores[name])
        median = float(np.median(list(scores.values())))
        points.append(
            PublishedPoint(frames=frames, best=scores[agent], agent=agent, median=median, n_agents=len(scores))
        )
    return tuple(point for point in points if point.frames <= max_frames)


def normalized_score(game: str, score: float) -> float | None:
    """Return a human-normalized score; None if the game has no published scores of random play and of a human."""
    reference = REFERENCES.get(game)
    if reference is None or reference.random is None or reference.human is None:
        return None
    return float(human_normalized((score,), reference.random, reference.human)[0])


def median_normalized_at(games: tuple[str, ...], frames: int) -> Mapping[str, float]:
    """Return the median human-normalized score over games of each agent with a score for every one of them."""
    by_game = [scores_at(game, frames) for game in games]
    medians = {}
    for agent in by_game[0] if by_game else ():
        pairs = zip(games, by_game, strict=True)
        own = [normalized_score(game, scores[agent]) for game, scores in pairs if agent in scores]
        known = [score for score in own if score is not None]
        if len(known) == len(games):
            medians[agent] = float(np.median(known))
    return medians
