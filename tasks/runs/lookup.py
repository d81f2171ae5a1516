"""Runs and checkpoints looked up in the store, for whatever follows a training."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.settings.base import parsed
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.store import Store, StoredCheckpoint, StoredRun, StoreError

_EVALUATION = "ramreel.evaluation"


def evaluation_tag(evaluation: EvaluationSettings | None) -> dict[str, str]:
    """What a training's run bears so that whoever videos its checkpoints, now or later, judges them alike."""
    return {_EVALUATION: evaluation.model_dump_json()} if evaluation else {}


def wanted_evaluation(run: StoredRun) -> EvaluationSettings:
    """How the checkpoints of a run are judged, unless somebody asks for something else.

    Raises:
        StoreError: its tag is not what we wrote.
    """
    tag = run.tags.get(_EVALUATION, "{}")
    try:
        return parsed(EvaluationSettings, tag.encode())
    except ValueError as error:
        raise StoreError(
            f"the tag {_EVALUATION} of run {run.name} ({run.run_id[:8]}) cannot be used: {error}; right would be "
            f"{EvaluationSettings().model_dump_json()}, or no such tag"
        ) from None


def resumable(store: Store, run_id: str) -> StoredRun:
    """A run that a training can go on with.

    Raises:
        StoreError: it is no training, or is being trained by another process.
    """
    run = store.run(run_id)
    if run.settings is None or run.foreign is not None:
        raise StoreError(f"run {run.name} ({run_id[:8]}) is no training: only a training can go on")
    store.lease(run_id).refuse_if_held()
    return run


def find_checkpoint(store: Store, reference: str, step: int | None) -> StoredCheckpoint:
    """A run's checkpoint at a step, or its last one.

    Raises:
        StoreError: there is no such run, it is named ambiguously, or it has no such checkpoint.
    """
    return store.checkpoints_at(store.resolve_run(reference), None if step is None else (step,))[-1]


def fetch(store: Store, stored: StoredCheckpoint) -> Checkpoint:
    """Bring a checkpoint here and read it.

    Raises:
        CheckpointError: it is damaged.
        StoreError: it cannot be brought here.
    """
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        directory = store.fetch_checkpoint(stored, Path(folder))
        return files.read(directory, stored.digest, name=f"at step {stored.step}")
