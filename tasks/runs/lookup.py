"""Lookup of runs and checkpoints in the store, and the tags by which flows recognize their runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import Checkpoint, CheckpointError
from tasks.arcade.emulator.environment_ids import rom_path
from tasks.arcade.inputs.fields import is_run_id
from tasks.arcade.settings.base import parse_json
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.store import Store, StoredCheckpoint, StoredRun, StoreError

ROOT_FLOW_RUN_TAG = "ramreel.root_flow_run_id"
"""Tag with the outermost flow run that created a run; it stays the same when that flow run is started again."""
TRIAL_TAG = "ramreel.trial"
"""Tag with the trial number of a training run that belongs to a sweep."""
_EVALUATION_TAG = "ramreel.evaluation"


def resolve_reference(store: Store, reference: str) -> str:
    """Return the run id of a reference, within a flow: a full run id was looked up before, and is returned as it is.

    Raises:
        StoreError: no run matches, or several do.
    """
    return reference if is_run_id(reference) else store.resolve_run(reference)


def evaluation_tag(evaluation: EvaluationSettings | None) -> dict[str, str]:
    """Return the tag with which every later recording evaluates the checkpoints of a run alike."""
    return {_EVALUATION_TAG: evaluation.model_dump_json()} if evaluation else {}


def evaluation_of(run: StoredRun, chosen: EvaluationSettings | None = None) -> EvaluationSettings:
    """Return the evaluation settings that a run was started with, except for those that were chosen now.

    Raises:
        StoreError: the tag is invalid.
    """
    tag = run.tags.get(_EVALUATION_TAG, "{}")
    try:
        own = parse_json(EvaluationSettings, tag.encode())
    except ValueError as error:
        raise StoreError(
            f"the tag {_EVALUATION_TAG} of run {run.name} ({run.run_id[:8]}) is invalid: {error}; "
            f"expected {EvaluationSettings().model_dump_json()}, or no such tag"
        ) from None
    return own.model_copy(update=chosen.model_dump(exclude_unset=True)) if chosen else own


def require_resumable(store: Store, run_id: str) -> StoredRun:
    """Return a training run that can be resumed.

    Raises:
        StoreError: the run is not a training run, or another process is training it.
        RomError: the ROM of its game cannot be read.
    """
    run = store.run(run_id)
    if run.settings is None or run.external is not None:
        raise StoreError(f"run {run.name} ({run_id[:8]}) is not a training run: only training runs can be resumed")
    rom_path(run.settings.game.rom)
    store.lease(run_id).raise_if_held()
    return run


def last_checkpoint_of_finished(store: Store, run: StoredRun, steps: int | None) -> StoredCheckpoint | None:
    """Return the last checkpoint of a finished training run that need not be trained any more, if it is undamaged.

    Args:
        store: the store.
        run: the training run.
        steps: total environment steps to train for (default: as configured before).
    """
    assert run.settings is not None
    checkpoints = store.list_checkpoints(run.run_id) if run.status == "FINISHED" else ()
    if not checkpoints or checkpoints[-1].step < (steps or run.settings.steps):
        return None
    try:
        load_checkpoint(store, checkpoints[-1])
    except (CheckpointError, StoreError):
        return None
    return checkpoints[-1]


def find_checkpoint(store: Store, reference: str, step: int | None) -> StoredCheckpoint:
    """Return a run's checkpoint at a step, or its last one.

    Raises:
        StoreError: no run matches the reference, or several do, or the run has no such checkpoint.
    """
    return store.checkpoints_at(store.resolve_run(reference), None if step is None else (step,))[-1]


def load_checkpoint(store: Store, stored: StoredCheckpoint) -> Checkpoint:
    """Download a checkpoint and read it.

    Raises:
        CheckpointError: it is damaged.
        StoreError: it cannot be downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        directory = store.fetch_checkpoint(stored, Path(folder))
        return files.read_checkpoint(directory, stored.digest, name=f"at step {stored.step}")
