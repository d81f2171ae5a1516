"""Comparison of two runs, and validation of everything that a run has stored."""

from __future__ import annotations

from pathlib import Path

from tasks.arcade.checkpoints.training_state import read_state
from tasks.runs.lookup import load_checkpoint
from tasks.store import Store

TIMES = ("time/fps", "time/time_elapsed")
SESSIONS = ("time/wall_seconds", "time/cpu_seconds")
"""Metrics with one point per completed session, however often the run was resumed."""
History = dict[str, list[tuple[int, float]]]


def histories(store: Store, run_id: str) -> History:
    """Return every point of every metric, duplicates included; only the steps of times, and no session metrics."""
    client = store._client
    keys = client.get_run(run_id).data.metrics
    return {
        key: sorted(
            (point.step, point.value if key not in TIMES else 0.0) for point in client.get_metric_history(run_id, key)
        )
        for key in keys
        if key not in SESSIONS
    }


def valid_checkpoints(store: Store, run_id: str, folder: Path) -> list[int]:
    """Read every listed checkpoint with its training state, and return their steps.

    Raises:
        CheckpointError, DamagedFolderError: a listed checkpoint is incomplete.
    """
    listed = store.list_checkpoints(run_id)
    for stored in listed:
        load_checkpoint(store, stored)
        read_state(store.fetch_training_state(stored, folder), stored.digest)
    return [stored.step for stored in listed]
