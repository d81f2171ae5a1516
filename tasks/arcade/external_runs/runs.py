"""What is known of a run from elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.fields import Name, Seed
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachId

WINDOW = 100
"""Episodes in Stable-Baselines3's `rollout/ep_rew_mean`; episodes from elsewhere are averaged the same way."""
MOST_POINTS = 1000
"""Of a curve that are kept; more than a plot can show."""

Curve = tuple[tuple[int, float], ...]


class ForeignError(RamreelError, ValueError):
    """A file from elsewhere cannot be used; the message is one line: which, and why."""


class Source(Settings):
    """What was taken from which file."""

    file: str = Field(description="as it was named")
    kind: str = Field(description="what sort of file it is, in words")
    taken: str = Field(description="what was taken from it")

    def __str__(self) -> str:
        return f"{self.kind} {self.file}: {self.taken}"


class ForeignEvaluation(Settings):
    """Episodes that somebody else played with one state of a policy."""

    step: int = Field(ge=0)
    returns: tuple[float, ...] = Field(min_length=1)
    lengths: tuple[int, ...] = Field(default=(), description="steps of each episode; empty: unknown")


def readable(path: Path) -> str:
    """A path as text; what is no text in it is a question mark."""
    return os.fsencode(path).decode(errors="replace")


class ImportSettings(Settings):
    """What a person asks for when runs from elsewhere are taken over."""

    env_id: str
    approach: ApproachId = Field(max_length=100)
    seed: Seed = 0
    name: Name | None = None
    experiment: Name | None = None


class ForeignRun(Settings):
    """A run from elsewhere, as it is kept in the store."""

    schema_version: int = SCHEMA
    game: GameSettings
    approach: ApproachId = Field(description="what it is called in comparisons")
    seed: Seed
    steps: int = Field(ge=0, description="trained, as far as is known")
    sources: tuple[Source, ...] = Field(min_length=1)
    evaluations: tuple[ForeignEvaluation, ...] = ()
    judged_by: Literal["evaluation", "training episodes"] = "evaluation"

    @property
    def origin(self) -> str:
        return "; ".join(map(str, self.sources))


@dataclass(frozen=True)
class ForeignLog:
    """What one file, or one folder, holds.

    Attributes:
        sources: the files.
        curves: metrics by the names that Stable-Baselines3 has for them, in rising order of steps.
        evaluations: of states of the policy, in rising order of steps.
        last_episodes: the last of training, where single episodes are known.
    """

    sources: tuple[Source, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    evaluations: tuple[ForeignEvaluation, ...] = ()
    last_episodes: ForeignEvaluation | None = None

    @property
    def steps(self) -> int:
        ends = [curve[-1][0] for curve in self.curves.values()]
        return max([*ends, *(one.step for one in self.evaluations)], default=0)

    def run(self, game: GameSettings, approach: str, seed: int) -> ForeignRun:
        """As a run that plays a game; judged by its last episodes of training where there is no evaluation."""
        judged = self.evaluations or ((self.last_episodes,) if self.last_episodes else ())
        return ForeignRun(
            game=game,
            approach=approach,
            seed=seed,
            steps=self.steps,
            sources=self.sources,
            evaluations=judged,
            judged_by="evaluation" if self.evaluations or not judged else "training episodes",
        )


def of_episodes(
    sources: tuple[Source, ...], steps: Sequence[int], returns: Sequence[float], lengths: Sequence[int]
) -> ForeignLog:
    """A log of single episodes of training.

    Args:
        sources: where they are from.
        steps: at which each ended, rising.
        returns: of each.
        lengths: of each, in steps; empty: unknown.
    """
    curves = {"rollout/ep_rew_mean": thinned(steps, _running_mean(returns))}
    if lengths:
        curves["rollout/ep_len_mean"] = thinned(steps, _running_mean(lengths))
    last = ForeignEvaluation(
        step=steps[-1], returns=tuple(returns[-WINDOW:]), lengths=tuple(lengths[-WINDOW:]) if lengths else ()
    )
    return ForeignLog(sources, curves, last_episodes=last)


def _running_mean(values: Sequence[float]) -> list[float]:
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    counts = np.minimum(np.arange(1, len(values) + 1), WINDOW)
    means = (sums[1:] - sums[np.arange(1, len(values) + 1) - counts]) / counts
    return [float(mean) for mean in means]


def thinned(steps: Sequence[int], values: Sequence[float]) -> Curve:
    """At most `MOST_POINTS` points, evenly spread, the last one among them; of several at one step the last one."""
    points = sorted(dict(zip(steps, values, strict=True)).items())
    if len(points) > MOST_POINTS:
        places = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))
        points = [points[place] for place in places]
    return tuple((int(step), float(value)) for step, value in points)


def finite(value: float, where: str) -> float:
    """The value, if it is a number.

    Raises:
        ForeignError: it is not.
    """
    if not math.isfinite(value):
        raise ForeignError(f"{where}: {value} is no return")
    return float(value)
