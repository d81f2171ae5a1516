"""The values that the store returns: runs, checkpoints and videos."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from tasks.arcade.external_runs import ExternalRun
from tasks.arcade.settings.run import RunSettings

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
DESCRIPTION_TAG = "mlflow.note.content"
"""Tag of a description in MLflow's UI, in Markdown."""


class StoredRun(BaseModel):
    """An MLflow run.

    Attributes:
        status: MLflow's run status: RUNNING, FINISHED, FAILED, KILLED or SCHEDULED.
        kind: tag `ramreel.kind`: training, comparison, ...; None if the run was not created by ramreel.
        params: parameters under their current names.
        metrics: latest value of each metric.
        settings: settings of a training run, or of an imported run that can be played; None for other runs.
        external: metadata of an imported run; None for other runs.
        start_ms: start time in milliseconds since the epoch, UTC.
        end_ms: end time in milliseconds since the epoch, UTC; None while the run is running.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    name: str
    experiment: str
    status: str
    kind: str | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    settings: RunSettings | None
    external: ExternalRun | None = None
    start_ms: int
    end_ms: int | None

    @property
    def versions(self) -> dict[str, str]:
        """Library versions that the run was made with, by package."""
        prefix = "ramreel.version."
        return {key.removeprefix(prefix): value for key, value in self.tags.items() if key.startswith(prefix)}


class TrainedGame(BaseModel):
    """The training runs of a game.

    Attributes:
        runs: number of runs, those that did not finish included.
        best_mean_return: highest mean return of the last evaluation of a run; None without evaluations.
    """

    model_config = ConfigDict(frozen=True)

    runs: int
    best_mean_return: float | None


class StoredCheckpoint(BaseModel):
    """A complete checkpoint in the store: one MLflow logged model.

    Attributes:
        step: environment steps trained.
        model_id: MLflow's logged model id.
        digest: SHA-256 of the checkpoint's manifest, in hex; traces refer to the checkpoint by it.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    step: int
    model_id: str
    digest: str


class StoredVideo(BaseModel):
    """Artifact paths of a video and of its trace within the run."""

    model_config = ConfigDict(frozen=True)

    step: int
    mp4: str
    trace: str


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested settings as flat parameters: `{"approach": {"n_envs": 8}}` becomes `{"approach.n_envs": "8"}`.

    Lists are encoded as JSON, other values by `str`.
    """
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value) if isinstance(value, list) else str(value)
    return flat
