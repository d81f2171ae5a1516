"""The values that describe an external run: its sources, evaluations and metric curves."""

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
from tasks.arcade.inputs.fields import Seed
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachId

WINDOW = 100
"""Episodes that Stable-Baselines3 averages in `rollout/ep_rew_mean`; external episodes are averaged likewise."""
MAX_POINTS = 1000
"""Points of a curve that are kept, more than a plot can show."""

MetricCurve = tuple[tuple[int, float], ...]
"""(step, value) points in ascending order of steps."""


class ExternalRunError(RamreelError, ValueError):
    """A file of an external run is invalid; the message is one line."""


class Source(Settings):
    """A file that was imported."""

    file: str = Field(description="Path as it was given")
    kind: str = Field(description="Format of the file")
    taken: str = Field(description="Data that was read from the file")

    def __str__(self) -> str:
        return f"{self.kind} {self.file}: {self.taken}"


class ExternalEvaluation(Settings):
    """Evaluation episodes of one checkpoint of an external run."""

    step: int = Field(ge=0)
    returns: tuple[float, ...] = Field(min_length=1)
    lengths: tuple[int, ...] = Field(default=(), description="Steps of each episode (default: unknown)")


def printable_path(path: Path) -> str:
    """Return a path as text; bytes that are not valid UTF-8 are replaced."""
    return os.fsencode(path).decode(errors="replace")


class ExternalRun(Settings):
    """Metadata of an external run, as it is stored."""

    schema_version: int = SCHEMA
    game: GameSettings
    approach: ApproachId = Field(description="Name of the approach in comparisons")
    seed: Seed
    steps: int = Field(ge=0, description="Training steps, as far as known")
    sources: tuple[Source, ...] = Field(min_length=1)
    evaluations: tuple[ExternalEvaluation, ...] = ()
    returns_from: Literal["evaluation", "training episodes"] = Field(
        default="evaluation", description="Episodes that `evaluations` consists of"
    )

    @property
    def origin(self) -> str:
        return "; ".join(map(str, self.sources))


@dataclass(frozen=True)
class ExternalLog:
    """Contents of a log file, or of a folder of log files.

    Attributes:
        sources: the files.
        curves: metrics under Stable-Baselines3's names.
        evaluations: evaluations in ascending order of steps.
        last_episodes: last training episodes, if single episodes are known.
    """

    sources: tuple[Source, ...]
    curves: Mapping[str, MetricCurve] = field(default_factory=dict)
    evaluations: tuple[ExternalEvaluation, ...] = ()
    last_episodes: ExternalEvaluation | None = None

    @property
    def steps(self) -> int:
        ends = [curve[-1][0] for curve in self.curves.values()]
        return max([*ends, *(one.step for one in self.evaluations)], default=0)

    def run(self, game: GameSettings, approach: str, seed: int) -> ExternalRun:
        """Return the run's metadata; the last training episodes stand in for missing evaluations."""
        evaluations = self.evaluations or ((self.last_episodes,) if self.last_episodes else ())
        return ExternalRun(
            game=game,
            approach=approach,
            seed=seed,
            steps=self.steps,
            sources=self.sources,
            evaluations=evaluations,
            returns_from="evaluation" if self.evaluations or not evaluations else "training episodes",
        )


def log_from_episodes(
    sources: tuple[Source, ...], steps: Sequence[int], returns: Sequence[float], lengths: Sequence[int]
) -> ExternalLog:
    """Build a log from single training episodes.

    Args:
        sources: files of the episodes.
        steps: training step at the end of each episode, ascending.
        returns: return of each episode.
        lengths: steps of each episode; empty if unknown.
    """
    curves = {"rollout/ep_rew_mean": downsample_curve(steps, _running_mean(returns))}
    if lengths:
        curves["rollout/ep_len_mean"] = downsample_curve(steps, _running_mean(lengths))
    last = ExternalEvaluation(
        step=steps[-1], returns=tuple(returns[-WINDOW:]), lengths=tuple(lengths[-WINDOW:]) if lengths else ()
    )
    return ExternalLog(sources, curves, last_episodes=last)


def _running_mean(values: Sequence[float]) -> list[float]:
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(values, np.float64))])
    counts = np.minimum(np.arange(1, len(values) + 1), WINDOW)
    means = (sums[1:] - sums[np.arange(1, len(values) + 1) - counts]) / counts
    return [float(mean) for mean in means]


def downsample_curve(steps: Sequence[int], values: Sequence[float]) -> MetricCurve:
    """Return at most `MAX_POINTS` evenly spread points including the last; the last value at a step counts."""
    points = sorted(dict(zip(steps, values, strict=True)).items())
    if len(points) > MAX_POINTS:
        indices = np.unique(np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int))
        points = [points[index] for index in indices]
    return tuple((int(step), float(value)) for step, value in points)


def require_finite(value: float, where: str) -> float:
    """Return the value if it is finite.

    Raises:
        ExternalRunError: the value is infinite or NaN.
    """
    if not math.isfinite(value):
        raise ExternalRunError(f"{where}: {value} is not a finite number")
    return float(value)
