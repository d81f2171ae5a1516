"""Published learning curves next to those of a comparison: at equal frames and with the same protocol only."""

from __future__ import annotations

import numpy as np

from tasks.arcade.report.data import Comparison
from tasks.arcade.report.learning_curve_plots import PublishedCurve
from tasks.arcade.scores import format_number
from tasks.arcade.scores.published_scores import STICKY_PROBABILITY, PublishedPoint, published_curve

PUBLISHED_CAPTION = (
    "Gray: the best and the median of sixteen published agents that learn from pixels, at equal frames and with the "
    "same sticky actions (Dopamine, 5 seeds)."
)
"""Description of the published curves."""


def published_curves(comparison: Comparison) -> tuple[PublishedCurve, ...]:
    """Return the curves of the best and of the median published agent, over steps of the agent.

    Empty over several games, if a run has other sticky actions or a random frame skip, or if no score was published for
    as few frames as the runs have.
    """
    frame_skips = {run.frame_skip for run in comparison.runs}
    games = {run.rom for run in comparison.runs}
    sticky = {run.repeat_action_probability for run in comparison.runs}
    if comparison.normalized or len(games) > 1 or sticky != {STICKY_PROBABILITY} or len(frame_skips) > 1:
        return ()
    frame_skip = frame_skips.pop()
    if not frame_skip.isdigit():
        return ()
    skip = int(frame_skip)
    points = published_curve(games.pop(), max(run.steps for run in comparison.runs) * skip)
    if not points:
        return ()
    steps = np.array([point.frames / skip for point in points])
    best = np.array([point.best for point in points])
    median = np.array([point.median for point in points])
    return (
        PublishedCurve(
            "best published", "dash", steps, best, tuple(_hover(point, point.best, point.agent) for point in points)
        ),
        PublishedCurve(
            "median published",
            "dot",
            steps,
            median,
            tuple(_hover(point, point.median, f"median of {point.n_agents}") for point in points),
        ),
    )


def _hover(point: PublishedPoint, score: float, agent: str) -> str:
    return f"{format_number(score)} after {point.frames:,} frames: {agent}"
