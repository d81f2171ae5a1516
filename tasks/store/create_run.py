"""How a run comes into being: its experiment, its place for artifacts, where it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.arcade.settings.base import SCHEMA
from tasks.store.models import StoreError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def origin_tags(kind: str, command: str, versions: Mapping[str, str], commit: str | None) -> dict[str, str]:
    """The tags that every run bears."""
    tags = {"ramreel.kind": kind, "ramreel.schema": str(SCHEMA), "ramreel.command": command}
    tags |= {"mlflow.source.name": command, "mlflow.source.type": "LOCAL"}
    tags |= {f"ramreel.version.{package}": version for package, version in versions.items()}
    if commit:
        tags |= {"ramreel.commit": commit, "mlflow.source.git.commit": commit}
    return tags


def create_run(
    client: MlflowClient, artifacts: Path | None, experiment: str, name: str, tags: Mapping[str, str]
) -> str:
    """Create a run in an experiment, which is created first if need be.

    Args:
        client: MLflow's.
        artifacts: folder under which a new experiment keeps its artifacts; none: the tracking server decides.
        experiment: its name.
        name: the run's name.
        tags: the run's tags.

    Returns:
        MLflow's run id.

    Raises:
        StoreError: the experiment was deleted.
    """
    experiment_id = _experiment(client, artifacts, experiment)
    return str(client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)


def log_params(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    """Keep parameters of a run, all at once."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])


def _experiment(client: MlflowClient, artifacts: Path | None, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_location(artifacts, name)))
        except MlflowException:
            # Another process may have been quicker.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise StoreError(f"the experiment {name!r} is deleted: restore it in MLflow or name another (--experiment)")
    return str(found.experiment_id)


def _location(artifacts: Path | None, experiment: str) -> str | None:
    if artifacts is None:
        return None
    folder = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment).strip("-") or "experiment"
    return (artifacts / folder).as_uri()
