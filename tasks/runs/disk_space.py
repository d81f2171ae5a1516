"""Space on the disk of the store, compared before a training run with what the run is going to store."""

from __future__ import annotations

import shutil
from pathlib import Path

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.run import RunSettings
from tasks.runs.prune_summary import readable_size
from tasks.store import Store, stored_size

_BYTES_PER_CHECKPOINT = 10 * 10**6
"""Without an earlier run: weights, training state and a video of a minute."""
_SERVERS_NEED = 50 * 10**6
"""Bytes in which both servers start, with the logs of their databases."""


class FullDiskError(RamreelError):
    """The disk of the store is full; the message is one line."""


def require_space(store: Store) -> None:
    """Check that the servers of an embedded store can write; their own errors do not tell of a full disk.

    Raises:
        FullDiskError: the disk is full.
    """
    if full := full_disk(store):
        raise FullDiskError(full)


def full_disk(store: Store) -> str:
    """Return one line if the disk of an embedded store is full; empty if it is not, or is that of a server."""
    if store.address.artifacts is None:
        return ""
    folder = _folder(store)
    free = shutil.disk_usage(folder).free
    if free >= _SERVERS_NEED:
        return ""
    return f"the disk of {folder} is full: {readable_size(free)} free, the servers need {readable_size(_SERVERS_NEED)}"


def _folder(store: Store) -> Path:
    """Return the folder of an embedded store, or the first one above it that exists."""
    artifacts = store.address.artifacts
    assert artifacts is not None
    return next(one for one in (artifacts, *artifacts.parents) if one.exists())


def low_disk_warning(store: Store, settings: RunSettings) -> str:
    """Return one line if the disk probably cannot hold a training run and its videos; empty if it can.

    A checkpoint needs what those of the last run of the same game and approach did. Nothing is known about the disk of
    a server.
    """
    if store.address.artifacts is None:
        return ""
    folder = _folder(store)
    free, checkpoints = shutil.disk_usage(folder).free, -(-settings.last_step // settings.checkpoint_every)
    needed = checkpoints * (_bytes_per_checkpoint(store, settings) or _BYTES_PER_CHECKPOINT)
    if free >= needed:
        return ""
    noun = "checkpoint" if checkpoints == 1 else "checkpoints"
    return (
        f"low disk space: {readable_size(free)} free in {folder}, and {checkpoints:,} {noun} with videos need about "
        f"{readable_size(needed)}; `ramreel prune` lists what can go"
    )


def _bytes_per_checkpoint(store: Store, settings: RunSettings) -> int | None:
    tags = {
        "ramreel.kind": "training",
        "ramreel.env_id": settings.game.env_id,
        "ramreel.approach": settings.approach.name,
    }
    for run_id in store.runs_with(tags, status="FINISHED", limit=1):
        if checkpoints := store.list_checkpoints(run_id):
            return stored_size(store, run_id) // len(checkpoints)
    return None
