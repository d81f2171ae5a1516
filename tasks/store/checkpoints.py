"""Checkpoints: what playing needs as logged models of MLflow, what going on needs as artifacts of their run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.arcade.settings.base import SCHEMA
from tasks.store import queries as finding
from tasks.store.artifacts import Artifacts
from tasks.store.models import StoredCheckpoint, StoreError, step_name, told_in_one_line

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel


@dataclass(frozen=True)
class Checkpoints(Artifacts):
    """The checkpoints of training runs, listed only once they are whole."""

    @told_in_one_line
    def save_checkpoint(
        self,
        run_id: str,
        step: int,
        directory: Path,
        digest: str,
        *,
        params: Mapping[str, str] | None = None,
        training: Path | None = None,
    ) -> str:
        """Keep a checkpoint as one logged model of MLflow; it is listed only once it is whole.

        Args:
            run_id: the run.
            step: steps of training behind it.
            directory: what playing needs; uploaded as it is.
            digest: SHA-256 of its manifest, in hex.
            params: parameters to show beside the model.
            training: a folder with what going on needs, kept as the run's `checkpoints/step-000250000/`.

        Returns:
            The logged model's id.
        """
        from mlflow.entities import LoggedModelOutput

        for folder in (directory, training):
            _refuse_empty(folder)
        client = self._client
        model_id = client.create_logged_model(
            experiment_id=client.get_run(run_id).info.experiment_id,
            name=step_name(step),
            source_run_id=run_id,
            tags={"ramreel.step": str(step), "ramreel.digest": digest, "ramreel.schema": str(SCHEMA)},
            params=dict(params or {}),
            model_type="ramreel-checkpoint",
        ).model_id
        try:
            client.log_model_artifacts(model_id, str(directory))
            if training is not None:
                client.log_artifacts(run_id, str(training), _training_path(step))
            client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
            client.finalize_logged_model(model_id, "READY")
        except BaseException:
            with contextlib.suppress(Exception):
                client.finalize_logged_model(model_id, "FAILED")
            raise
        return model_id

    @told_in_one_line
    def list_checkpoints(self, run_id: str) -> tuple[StoredCheckpoint, ...]:
        """The whole checkpoints of a run, by step; of several at one step the newest."""
        experiment = self._client.get_run(run_id).info.experiment_id
        models = finding.pages(
            lambda token: self._client.search_logged_models(
                [experiment],
                f"source_run_id = '{run_id}'",
                max_results=finding.PAGE,
                order_by=[{"field_name": "creation_timestamp", "ascending": True}],
                page_token=token,
            )
        )
        by_step = {stored.step: stored for model in models if (stored := _stored_checkpoint(run_id, model))}
        return tuple(by_step[step] for step in sorted(by_step))

    def checkpoints_at(self, run_id: str, steps: Sequence[int] | None = None) -> tuple[StoredCheckpoint, ...]:
        """The run's checkpoints at these steps, or all of them.

        Raises:
            StoreError: the run has none, or none at one of the steps.
        """
        stored = self.list_checkpoints(run_id)
        if not stored:
            raise StoreError(f"run {run_id} has no checkpoint: `ramreel train ENV` makes runs that have some")
        if steps is None:
            return stored
        by_step = {checkpoint.step: checkpoint for checkpoint in stored}
        if missing := [step for step in steps if step not in by_step]:
            there = ", ".join(map(str, by_step))
            raise StoreError(f"run {run_id} has no checkpoint at step {missing[0]}: there are {there}")
        return tuple(by_step[step] for step in sorted(set(steps)))

    @told_in_one_line
    def fetch_checkpoint(self, stored: StoredCheckpoint, into: Path) -> Path:
        """Bring what playing needs onto this machine; returns the folder, within `into`, that holds the files.

        Several may be fetched into one folder: each has a folder of its own in it.
        """
        from mlflow.artifacts import download_artifacts

        location = self._client.get_logged_model(stored.model_id).artifact_location
        folder = str(into / stored.model_id)
        return Path(download_artifacts(location, dst_path=folder, tracking_uri=self.address.uri))

    def fetch_training(self, stored: StoredCheckpoint, into: Path) -> Path:
        """Bring what going on needs onto this machine; returns the folder, within `into`, that holds the files."""
        return self.fetch_artifact(stored.run_id, _training_path(stored.step), into / stored.model_id)


def _refuse_empty(folder: Path | None) -> None:
    # MLflow uploads nothing from a folder that is not there, and says nothing.
    if folder is not None and not any(folder.iterdir()):
        raise StoreError(f"{folder} is empty: there is no checkpoint in it")


def _training_path(step: int) -> str:
    return f"checkpoints/{step_name(step)}"


def _stored_checkpoint(run_id: str, model: LoggedModel) -> StoredCheckpoint | None:
    step, digest = model.tags.get("ramreel.step"), model.tags.get("ramreel.digest")
    if str(model.status) != "READY" or step is None or digest is None:
        return None
    return StoredCheckpoint(run_id=run_id, step=int(step), model_id=model.model_id, digest=digest)
