"""Input models of the flows that schedules and automations start: follow-up, guard, retraining, retention."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.arcade.inputs.fields import EnvId, RunReference, Steps, Workers, short
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import FRESH_EPISODES

Cause = Literal["game", "checkpoint", "collapse"]

Days = Annotated[int, Field(ge=1, le=100_000)]


class GuardSettings(Settings):
    """Check whether the champions still perform as well as when they were crowned."""

    env_id: EnvId | None = Field(
        default=None, title="Game", description="Check only this game's champion (default: every champion)"
    )
    episodes: int = Field(
        default=FRESH_EPISODES, ge=10, le=10_000, description="Evaluation episodes per champion, on fresh seeds"
    )

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return self.env_id or "all champions"


class FollowUpSettings(Settings):
    """Record, evaluate and compare a finished training run."""

    run: RunReference
    earlier: int = Field(
        default=5,
        title="Earlier runs",
        ge=0,
        le=100,
        description="Number of earlier training runs of the game in the comparison",
    )

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return short(self.run)


class RetrainSettings(Settings):
    """Retrain a game's champion after its performance dropped."""

    env_id: EnvId
    cause: Cause = Field(
        default="checkpoint",
        description="Cause of the drop. game: the emulator has changed, train from scratch; checkpoint or collapse: "
        "continue from the champion's last good checkpoint",
    )
    steps: Steps | None = Field(
        default=None, description="Additional environment steps (default: as many as the champion was trained for)"
    )
    workers: Workers = None
    cool_down_hours: float = Field(default=24, ge=0, description="Minimum hours between two retraining runs of a game")
    at_most: int = Field(
        default=3,
        title="Maximum runs",
        ge=1,
        description="Maximum number of retraining runs per champion, after which a person is notified",
    )

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return f"{self.env_id} ({self.cause})"


class PruneSettings(Settings):
    """Delete old runs, videos and training states that no champion and no report refers to."""

    runs_days: Days = Field(
        default=90, title="Runs", description="Age in days from which runs are deleted, comparisons with their reports"
    )
    videos_days: Days = Field(
        default=30,
        title="Videos",
        description="Age in days from which a run keeps only the videos of its last and best checkpoints; traces, from "
        "which videos are rendered again, are kept",
    )
    states_days: Days = Field(
        default=7,
        title="Training states",
        description="Age in days from which a run keeps only the training states of its last and best checkpoints",
    )
    deleted_days: Days = Field(
        default=30,
        title="Deleted runs",
        description="Days after which runs that were deleted in MLflow are deleted for good",
    )
    max_runs: int | None = Field(
        default=None,
        title="Maximum runs",
        ge=1,
        description="Number of training runs per experiment; older ones are deleted whatever their age "
        "(default: any number)",
    )
    max_gb: float | None = Field(
        default=None,
        title="Maximum size",
        gt=0,
        description="Size of all artifacts in GB; above it the oldest runs are deleted whatever their age "
        "(default: any size)",
    )
    manual: bool = Field(
        default=False,
        description="Apply to runs that were started by hand, too, instead of only to those that a schedule or an "
        "automation started",
    )
    delete: bool = Field(default=False, description="Delete what is listed, instead of only listing it")

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return f"runs after {pluralize(self.runs_days, 'day')}"
