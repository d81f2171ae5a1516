"""The values that describe an external run: its sources, evaluations and metric curves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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
    notes: tuple[str, ...] = Field(
        default=(), description="Assumptions of the import, and contradictions between its sources"
    )

    @property
    def origin(self) -> str:
        return "; ".join(map(str, self.sources))


@dataclass(frozen=True)
class Declared:
    """Facts about a training run that a file states.

    Attributes:
        source: name of the file.
        env_id: id of the environment that counts steps and episodes; None if unknown.
        frame_skip: frames per step of that environment, where it is not that of its id.
        wrapper_skip: steps of that environment per step of the agent, by a wrapper; None if unknown.
        steps: steps that the training run was to take; None if unknown.
        seed: training seed; None if unknown or random.
        n_envs: parallel environments; None if unknown.
    """

    source: str
    env_id: str | None = None
    frame_skip: int | None = None
    wrapper_skip: int | None = None
    steps: int | None = None
    seed: int | None = None
    n_envs: int | None = None


@dataclass(frozen=True)
class Episodes:
    """Training episodes in the order of training.

    Attributes:
        returns: return of each episode.
        lengths: length of each episode, as the environment counts it; empty if unknown.
        steps: step of the agent at the end of each episode; empty if unknown.
        n_files: files that they were read from.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    steps: tuple[int, ...] = ()
    n_files: int = 1


@dataclass(frozen=True)
class RawLog:
    """Contents of the log files of one format, in the units of the files.

    Attributes:
        sources: the files.
        curves: metrics under Stable-Baselines3's names; lengths of episodes as the environment counts them.
        evaluations: evaluations in ascending order of steps; lengths as the environment counts them.
        episodes: training episodes, if single episodes are known.
        declared: facts that the files state.
    """

    sources: tuple[Source, ...]
    curves: Mapping[str, MetricCurve] = field(default_factory=dict)
    evaluations: tuple[ExternalEvaluation, ...] = ()
    episodes: Episodes | None = None
    declared: tuple[Declared, ...] = ()


@dataclass(frozen=True)
class ExternalLog:
    """Contents of a log file, or of a folder of log files; every length is in steps of the agent.

    Attributes:
        sources: the files.
        curves: metrics under Stable-Baselines3's names.
        evaluations: evaluations in ascending order of steps.
        last_episodes: last training episodes, if single episodes are known.
        frame_skip: frames per step of the agent, where the files or the user say so; None: that of the game.
        seed: training seed, where the files say so.
        notes: assumptions, and contradictions between the files.
    """

    sources: tuple[Source, ...]
    curves: Mapping[str, MetricCurve] = field(default_factory=dict)
    evaluations: tuple[ExternalEvaluation, ...] = ()
    last_episodes: ExternalEvaluation | None = None
    frame_skip: int | None = None
    seed: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        ends = [curve[-1][0] for curve in self.curves.values()]
        return max([*ends, *(one.step for one in self.evaluations)], default=0)

    def run(self, game: GameSettings, approach: str, seed: int) -> ExternalRun:
        """Return the run's metadata; the last training episodes stand in for missing evaluations."""
        evaluations = self.evaluations or ((self.last_episodes,) if self.last_episodes else ())
        other_seed = (
            [f"its training seed was {self.seed}, imported is seed {seed}"] if self.seed not in (None, seed) else []
        )
        return ExternalRun(
            game=game if self.frame_skip is None else game.model_copy(update={"frame_skip": self.frame_skip}),
            approach=approach,
            seed=seed,
            steps=self.steps,
            sources=self.sources,
            evaluations=evaluations,
            returns_from="evaluation" if self.evaluations or not evaluations else "training episodes",
            notes=(*self.notes, *other_seed),
        )


def require_finite(value: float, where: str) -> float:
    """Return the value if it is finite.

    Raises:
        ExternalRunError: the value is infinite or NaN.
    """
    if not math.isfinite(value):
        raise ExternalRunError(f"{where}: {value} is not a finite number")
    return float(value)
