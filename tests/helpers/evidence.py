"""What two runs are compared by, and how what a run has stored is found to be whole."""

from __future__ import annotations

from pathlib import Path

from tasks.arcade.checkpoints.training_state import read_state
from tasks.runs.lookup import load_checkpoint
from tasks.store import Store

TIMES = ("time/fps", "time/time_elapsed")
SITTINGS = ("time/wall_seconds", "time/cpu_seconds")
"""One point each time that a training comes to an end, however often it is gone on with."""
History = dict[str, list[tuple[int, float]]]


def histories(store: Store, run_id: str) -> History:
    """Every point of every metric, repeated ones too; of what differs by the clock only the steps, of sittings none."""
    client = store._client
    keys = client.get_run(run_id).data.metrics
    return {
        key: sorted(
            (point.step, point.value if key not in TIMES else 0.0) for point in client.get_metric_history(run_id, key)
        )
        for key in keys
        if key not in SITTINGS
    }


def whole_checkpoints(store: Store, run_id: str, folder: Path) -> list[int]:
    """Steps of the checkpoints that are listed, each of which is read, with what going on needs.

    Raises:
        CheckpointError, DamagedFolderError: one that is listed is not whole.
    """
    listed = store.list_checkpoints(run_id)
    for stored in listed:
        load_checkpoint(store, stored)
        read_state(store.fetch_training_state(stored, folder), stored.digest)
    return [stored.step for stored in listed]
