"""Checkpoints: policies as MLflow logged models, training states as artifacts of their run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.arcade.checkpoints.checkpoint import CheckpointDescription
from tasks.arcade.settings.base import SCHEMA
from tasks.store import queries
from tasks.store.artifact_paths import step_name, training_state_path
from tasks.store.artifacts import ArtifactStore
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.logged_models import new_logged_model
from tasks.store.missing_artifacts import local_path, missing
from tasks.store.mlflow_model import describe_model, write_model_files
from tasks.store.values import DESCRIPTION_TAG, StoredCheckpoint

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel


@dataclass(frozen=True)
class CheckpointStore(ArtifactStore):
    """Checkpoints of training runs; a checkpoint is listed once it is complete."""

    @raises_store_error
    def save_checkpoint(
        self,
        run_id: str,
        step: int,
        directory: Path,
        digest: str,
        *,
        description: CheckpointDescription | None = None,
        params: Mapping[str, str] | None = None,
        training: Path | None = None,
    ) -> str:
        """Save a checkpoint as an MLflow logged model; it is listed once it is complete.

        Args:
            run_id: MLflow's run id.
            step: environment steps trained.
            directory: folder with the files that playing needs; uploaded as it is.
            digest: SHA-256 of its manifest, in hex.
            description: description of the checkpoint, by which MLflow's own client loads and serves its policy; None
                for other files.
            params: parameters of the logged model.
            training: folder with the files that resuming needs; saved as the run's `checkpoints/step-000250000/`.

        Returns:
            The logged model's id.
        """
        for folder in (directory, training):
            _refuse_empty(folder)
        client = self._client
        tags = {"ramreel.step": str(step), "ramreel.digest": digest, "ramreel.schema": str(SCHEMA)}
        if description:
            tags[DESCRIPTION_TAG] = describe_model(description)
        with new_logged_model(
            client, run_id, step, name=step_name(step), model_type="ramreel-checkpoint", tags=tags, params=params
        ) as model:
            model_id = str(model.model_id)
            client.log_model_artifacts(model_id, str(directory))
            if description:
                with tempfile.TemporaryDirectory(prefix="ramreel-") as model_files:
                    write_model_files(description, model, Path(model_files))
                    client.log_model_artifacts(model_id, model_files)
            if training is not None:
                client.log_artifacts(run_id, str(training), training_state_path(step))
        return model_id

    @raises_store_error
    def list_checkpoints(self, run_id: str) -> tuple[StoredCheckpoint, ...]:
        """Return the complete checkpoints of a run by step; of several at one step the newest."""
        models = queries.logged_models(self._client, self._client.get_run(run_id))
        by_step = {stored.step: stored for model in models if (stored := _stored_checkpoint(run_id, model))}
        return tuple(by_step[step] for step in sorted(by_step))

    def checkpoints_at(self, run_id: str, steps: Sequence[int] | None = None) -> tuple[StoredCheckpoint, ...]:
        """Return a run's checkpoints at given steps, by default all of them.

        Raises:
            StoreError: the run has no checkpoint, or none at one of the steps.
        """
        stored = self.list_checkpoints(run_id)
        if not stored:
            raise StoreError(f"run {run_id} has no checkpoint: `ramreel train ENV` makes runs that have some")
        if steps is None:
            return stored
        by_step = {checkpoint.step: checkpoint for checkpoint in stored}
        if missing := [step for step in steps if step not in by_step]:
            available = ", ".join(map(str, by_step))
            raise StoreError(f"run {run_id} has no checkpoint at step {missing[0]}; available: {available}")
        return tuple(by_step[step] for step in sorted(set(steps)))

    @raises_store_error
    def fetch_checkpoint(self, stored: StoredCheckpoint, into: Path) -> Path:
        """Download the files that playing needs and return their folder within `into`.

        Each checkpoint gets a folder of its own, so several may be fetched into one folder.

        Raises:
            MissingArtifactError: a local store does not have the files any more.
        """
        from mlflow.artifacts import download_artifacts

        location = self._client.get_logged_model(stored.model_id).artifact_location
        local = local_path(location)
        if local is not None and not local.exists():
            raise missing(f"the checkpoint at step {stored.step} of run {stored.run_id}", local)
        folder = str(into / stored.model_id)
        return Path(download_artifacts(location, dst_path=folder, tracking_uri=self.address.uri))

    def fetch_training_state(self, stored: StoredCheckpoint, into: Path) -> Path:
        """Download the files that resuming needs and return their folder within `into`."""
        return self.fetch_artifact(stored.run_id, training_state_path(stored.step), into / stored.model_id)


def _refuse_empty(folder: Path | None) -> None:
    # MLflow uploads nothing from a missing folder, without an error.
    if folder is not None and not any(folder.iterdir()):
        raise StoreError(f"{folder} is empty: expected the files of a checkpoint")


def _stored_checkpoint(run_id: str, model: LoggedModel) -> StoredCheckpoint | None:
    step, digest = model.tags.get("ramreel.step"), model.tags.get("ramreel.digest")
    if str(model.status) != "READY" or step is None or digest is None:
        return None
    return StoredCheckpoint(run_id=run_id, step=int(step), model_id=model.model_id, digest=digest)
