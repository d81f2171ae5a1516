"""Orphaned flow runs of commands whose process was killed: nothing else would ever end them in Prefect."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.execution.endpoints import embedded_prefect_database

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

TAG = "ramreel.command"
"""Tag of the flow runs of commands; nothing can restart them."""
AUTOMATED_TAG = "ramreel"
"""Tag of the flow runs that the automations of deployments/automations.yaml handle."""
_HEARTBEAT_SECONDS = 30
"""Prefect's shortest interval; the automations wait for three heartbeats."""


@contextmanager
def monitored_command() -> Iterator[None]:
    """Tag the block's flow runs, and emit their heartbeats, for the automations of a Prefect server elsewhere."""
    from prefect import tags
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    # Also where the user has set a longer interval: a living flow run would be marked as crashed.
    with tags(AUTOMATED_TAG, TAG), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: _HEARTBEAT_SECONDS}):
        yield


@contextmanager
def tracked_command() -> Iterator[None]:
    """Tag the block's flow runs as a command's, and hold a shared lock next to Prefect's database while it is alive."""
    if (lock := _lock_file()) is None:
        yield
        return
    from prefect import tags

    # The kernel releases the lock however the process ends. NFS grants shared locks to readable files only.
    with lock.open("a+") as file, tags(TAG):
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def mark_killed_runs_crashed(client: SyncPrefectClient) -> None:
    """Set the flow runs of killed commands to Crashed, unless a command is running."""
    if (lock := _lock_file()) is None:
        return
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    unfinished = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        query = {"state": {"type": {"any_": unfinished}}, "tags": {"all_": [TAG]}}
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(query)):
            crashed: State[None] = Crashed(message="The process of its command was killed.")
            client.set_flow_run_state(run.id, crashed, force=True)


def _lock_file() -> Path | None:
    """Return the lock file of the commands of this home; None if Prefect's database is not the embedded one."""
    database = embedded_prefect_database()
    return database.with_name("commands.lock") if database else None
