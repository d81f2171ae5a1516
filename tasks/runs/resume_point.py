"""The checkpoint that a training run is resumed from."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from tasks.arcade.checkpoints.checkpoint import CheckpointError
from tasks.arcade.checkpoints.training_state import read_state
from tasks.arcade.checkpoints.verified_folder import DamagedFolderError
from tasks.arcade.learner import ResumePoint
from tasks.runs.lookup import load_checkpoint
from tasks.store import MissingArtifactError, Store, StoredCheckpoint, StoreError

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def last_valid_checkpoint(
    store: Store, run_id: str, logger: Logger, max_step: int | None = None
) -> tuple[StoredCheckpoint, ResumePoint] | None:
    """Return the newest checkpoint of a run that is complete and undamaged, or None.

    Args:
        store: the store.
        run_id: the run.
        logger: receives a warning for each checkpoint that is skipped.
        max_step: skip checkpoints after this step; default: none.

    Raises:
        MissingArtifactError: the run has checkpoints, and the files of all of them are missing.
    """
    skipped = list[Exception]()
    for stored in reversed(store.list_checkpoints(run_id)):
        if max_step is not None and stored.step > max_step:
            continue
        try:
            return stored, load_resume_point(store, stored)
        except (DamagedFolderError, CheckpointError, StoreError) as error:
            logger.warning("checkpoint at step %s cannot be resumed and is skipped: %s", stored.step, error)
            skipped.append(error)
    if skipped and all(isinstance(error, MissingArtifactError) for error in skipped):
        # Nothing is damaged: they are elsewhere, and training from scratch would replace them.
        raise skipped[0]
    return None


def load_resume_point(store: Store, stored: StoredCheckpoint) -> ResumePoint:
    """Download a checkpoint together with its training state.

    Raises:
        DamagedFolderError, CheckpointError: it is damaged.
        StoreError: it cannot be downloaded.
    """
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        state = read_state(store.fetch_training_state(stored, Path(folder)), stored.digest)
    return ResumePoint(load_checkpoint(store, stored), state)
