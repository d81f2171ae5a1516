"""Flow runs of commands whose process was killed: nobody else would ever say in Prefect that they are over."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.execution.endpoints import prefect_database
from tasks.store import find_home

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

TAG = "ramreel.command"


@contextmanager
def as_a_command() -> Iterator[None]:
    """The flow runs inside are a command's: as long as its process lives, a lock beside Prefect's database says so."""
    if (lock := _lock()) is None:
        yield
        return
    from prefect import tags

    # The kernel gives it back however the process ends.
    with lock.open("a") as file, tags(TAG):
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def end_killed(client: SyncPrefectClient) -> None:
    """Call the flow runs crashed that killed commands have left behind, if no command lives."""
    if (lock := _lock()) is None:
        return
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    not_over = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        asked = {"state": {"type": {"any_": not_over}}, "tags": {"all_": [TAG]}}
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(asked)):
            crashed: State[None] = Crashed(message="The process of its command was killed.")
            client.set_flow_run_state(run.id, crashed, force=True)


def _lock() -> Path | None:
    """None where Prefect's database is somebody else's: who works on it cannot be told."""
    home = find_home()
    if os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL") != prefect_database(home):
        return None
    return home / "mlruns" / "commands.lock"
