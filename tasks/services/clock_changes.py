"""Prefect after this machine's clock was set, or stood still while the machine was suspended.

Prefect's server keeps due times in memory and time windows of automations in its database. After a clock was set
forward it takes every running flow run for crashed, because no heartbeat arrived in the meantime; after it was set back
its services wait until the clock has caught up. Uses a private part of Prefect, tried with Prefect 3.9.1: the table
`automation_bucket`.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tasks.execution.endpoints import embedded_prefect_database

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State, StateType

_TOLERANCE_SECONDS = 15
"""Smaller steps, such as those of NTP, do no harm: an automation waits for three heartbeats, 30 s apart."""
_NO_HEARTBEATS = "No heartbeats from its process."
"""Message of the automation that detects flow runs whose process was killed, in deployments/automations.yaml."""
_FORMAT = "%Y-%m-%d %H:%M:%f"
_RENEW_WINDOWS = """\
UPDATE automation_bucket
SET start = strftime(:format, :now), "end" = strftime(:format, julianday(:now) + julianday("end") - julianday(start))"""
_PAGE = 200


class WallClock:
    """The clock of this machine, compared with the monotonic one."""

    def __init__(self) -> None:
        self._offset = self._read_offset()

    @staticmethod
    def _read_offset() -> float:
        return time.time() - time.monotonic()

    def set_by(self) -> float:
        """Return by how many seconds the clock was set since the last call, negative if back; 0 for small steps."""
        before, self._offset = self._offset, self._read_offset()
        by = self._offset - before
        return by if abs(by) > _TOLERANCE_SECONDS else 0.0


def describe_change(by: float) -> str:
    """Return one line for the user about a clock that was set by some seconds."""
    direction = "forward" if by > 0 else "back"
    return f"The clock jumped {direction} by {timedelta(seconds=abs(round(by)))}; starting Prefect's server again."


def renew_windows() -> None:
    """Let the windows in which automations expect events start now, while the embedded server is not running.

    Until it runs again no heartbeat arrives, and by a clock that was set most windows are over or far ahead.
    """
    database = embedded_prefect_database()
    if database is None or not database.exists():
        return
    values = {"format": _FORMAT, "now": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"}
    # On a full disk, say: flow runs that are taken for crashed are corrected later.
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=60)) as connection,
        connection,
    ):
        connection.execute(_RENEW_WINDOWS, values)


def correct_flow_runs(api_url: str, by: float, found_at: datetime) -> None:
    """Correct what Prefect's server has made of flow runs after the clock was set by some seconds.

    Set forward: those that it took for crashed at that moment are running. Set back: those that were due are due still,
    and planned ones are planned again, because Prefect plans none before those that exist. Flow runs that a user has
    scheduled for later stay as they are.

    Args:
        api_url: URL of Prefect's API.
        by: seconds, negative if the clock was set back.
        found_at: when that was found, by the clock as it is now.
    """
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        if by > 0:
            _revive(client, found_at - timedelta(seconds=_TOLERANCE_SECONDS))
        else:
            _keep_due(client, found_at, found_at - timedelta(seconds=by))


def _revive(client: SyncPrefectClient, since: datetime) -> None:
    from prefect.client.schemas.objects import StateType
    from prefect.states import Running

    started = {"start_time": {"is_null_": False}}
    # Scheduled: on a slow machine, the server may have been about to restart it.
    for run in [*_flow_runs(client, StateType.CRASHED, started), *_flow_runs(client, StateType.SCHEDULED, started)]:
        if run.state and run.state.timestamp >= since and _seemed_dead(client, run, since):
            running: State[None] = Running()
            client.set_flow_run_state(run.id, running, force=True)


def _seemed_dead(client: SyncPrefectClient, run: FlowRun, since: datetime) -> bool:
    """Return whether the last crash of a flow run was that its heartbeats were missing, since a time."""
    crashes = [state for state in client.read_flow_run_states(run.id) if state.is_crashed()]
    last = max(crashes, key=lambda state: state.timestamp, default=None)
    return last is not None and last.message == _NO_HEARTBEATS and last.timestamp >= since


def _keep_due(client: SyncPrefectClient, now: datetime, before: datetime) -> None:
    from prefect.client.schemas.objects import StateType
    from prefect.states import Scheduled

    for run in _flow_runs(client, StateType.SCHEDULED, {"next_scheduled_start_time": {"after_": now}}):
        assert run.next_scheduled_start_time is not None
        if run.next_scheduled_start_time <= before:
            due: State[None] = Scheduled(scheduled_time=now, name=run.state_name or "Scheduled")
            client.set_flow_run_state(run.id, due, force=True)
        elif run.auto_scheduled:
            client.delete_flow_run(run.id)


def _flow_runs(client: SyncPrefectClient, kind: StateType, query: dict[str, Any]) -> list[FlowRun]:
    """Return all flow runs of a query that are in a state, before any of them is changed."""
    from prefect.client.schemas.filters import FlowRunFilter

    found: list[FlowRun] = []
    filters = FlowRunFilter.model_validate({"state": {"type": {"any_": [kind]}}, **query})
    while page := client.read_flow_runs(flow_run_filter=filters, limit=_PAGE, offset=len(found)):
        found += page
    return found
