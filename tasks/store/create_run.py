"""Creation of MLflow runs: experiment, artifact location, tags of origin, parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.arcade.settings.base import SCHEMA
from tasks.store.errors import StoreError
from tasks.store.missing_artifacts import local_path
from tasks.store.ui_pages import VIEW_TAG, run_list_view

if TYPE_CHECKING:
    from mlflow import MlflowClient


def origin_tags(kind: str, command: str, versions: Mapping[str, str], commit: str | None) -> dict[str, str]:
    """Return the tags that every run has."""
    tags = {"ramreel.kind": kind, "ramreel.schema": str(SCHEMA), "ramreel.command": command}
    # MLflow's UI shows what follows the last slash of a source, such as the rest of an environment id.
    source = " ".join(takewhile(lambda word: "/" not in word, command.split()))
    tags |= {"mlflow.source.name": source or command, "mlflow.source.type": "LOCAL"}
    tags |= {f"ramreel.version.{package}": version for package, version in versions.items()}
    if commit:
        tags |= {"ramreel.commit": commit, "mlflow.source.git.commit": commit}
    return tags


def create_run(
    client: MlflowClient, artifacts: Path | None, experiment: str, name: str, tags: Mapping[str, str]
) -> str:
    """Create a run in an experiment, and the experiment if it does not exist.

    Args:
        client: MLflow's client.
        artifacts: parent folder of a new experiment's artifacts; None leaves the location to the tracking server.
        experiment: name of the experiment.
        name: name of the run.
        tags: tags of the run.

    Returns:
        MLflow's run id.

    Raises:
        StoreError: the experiment is deleted, or its artifacts are files of another machine.
    """
    experiment_id = _experiment(client, artifacts, experiment)
    return str(client.create_run(experiment_id, tags=dict(tags), run_name=name).info.run_id)


def log_params(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    """Log parameters of a run in one batch."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(key, value) for key, value in values.items()])


def _experiment(client: MlflowClient, artifacts: Path | None, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found, view = client.get_experiment_by_name(name), {VIEW_TAG: run_list_view()}
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_location(artifacts, name), tags=view))
        except MlflowException:
            # Another process may have created it in the meantime.
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise StoreError(f"experiment {name!r} is deleted: restore it in MLflow, or choose another (--experiment)")
    folder = local_path(found.artifact_location)
    # MLflow's client would create it here, where no other machine finds what is in it.
    if artifacts is None and folder and not folder.parent.is_dir():
        raise StoreError(
            f"experiment {name!r} keeps its artifacts in {folder} on the machine that created it, and this machine has "
            "no such folder: choose another experiment (--experiment), which keeps them on the server"
        )
    if found.tags.get(VIEW_TAG) != view[VIEW_TAG]:
        client.set_experiment_tag(found.experiment_id, VIEW_TAG, view[VIEW_TAG])
    return str(found.experiment_id)


def _location(artifacts: Path | None, experiment: str) -> str | None:
    if artifacts is None:
        return None
    return (artifacts / artifact_folder(experiment)).as_uri()


def artifact_folder(experiment: str) -> str:
    """Return the name of the folder of an experiment's artifacts."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", experiment).strip("-") or "experiment"
