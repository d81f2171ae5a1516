"""What is asked of the flows that look after a game's champion, as frozen values: their forms in Prefect's UI."""

from __future__ import annotations

from pydantic import Field

from tasks.arcade.episodes.head_to_head import EPISODES, Cause
from tasks.arcade.inputs.forms import EnvId, short
from tasks.arcade.settings.algorithms import Settings


class GuardSettings(Settings):
    """What a person asks for when champions are looked at."""

    env_id: EnvId | None = Field(default=None, description="only this game's champion; none: every champion")
    episodes: int = Field(default=EPISODES, ge=10, le=10_000, description="fresh episodes that each champion plays")

    @property
    def title(self) -> str:
        """What a person calls this look."""
        return self.env_id or "all champions"


class FollowUpSettings(Settings):
    """What a person asks for when a finished training is looked at."""

    run: str = Field(description="MLflow run id, a beginning of it, a run name, or latest")
    earlier: int = Field(default=5, ge=0, le=100, description="so many earlier trainings of its game are compared")

    @property
    def title(self) -> str:
        """What a person calls this."""
        return short(self.run)


class RetrainSettings(Settings):
    """What is asked for when a game's champion is no longer what it was."""

    env_id: EnvId
    cause: Cause = Field(
        default="checkpoint",
        description="game: the emulator plays otherwise, so train from scratch; checkpoint, collapse: go on from the "
        "champion's last good checkpoint",
    )
    steps: int | None = Field(
        default=None, ge=1, le=10**10, description="steps of new training; none: as many as the champion was trained"
    )
    workers: int | None = Field(default=None, ge=1, le=256, description="worker processes; none: one a core")
    cool_down_hours: float = Field(default=24, ge=0, description="hours between two retrainings of a game")
    at_most: int = Field(default=3, ge=1, description="retrainings for one champion; then a person is asked")

    @property
    def title(self) -> str:
        """What a person calls this retraining."""
        return f"{self.env_id} ({self.cause})"
