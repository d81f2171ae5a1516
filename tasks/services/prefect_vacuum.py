"""Old flow runs of the embedded Prefect database, deleted while no server runs: a server deletes them itself.

Run as a process it deletes them: `python -m tasks.services.prefect_vacuum`. Uses private parts of Prefect, tried with
Prefect 3.9.1: the functions of its service `db_vacuum`, and the table `flow_run`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.execution.endpoints import embedded_prefect_database
from tasks.services.child_processes import child_process
from tasks.services.errors import ServiceConfigurationError
from tasks.store import shrink

_PERIOD = "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"
RETENTION: Mapping[str, str] = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    _PERIOD: str(int(timedelta(days=30).total_seconds())),
}
"""Settings of Prefect's servers, unless the user has set others: by default flow runs are kept forever."""


class VacuumError(ServiceConfigurationError):
    """Old flow runs could not be deleted; the message is one line."""


def retention_environment() -> dict[str, str]:
    """Return the settings of Prefect's retention: the user's, or else `RETENTION`."""
    return {name: os.environ.get(name) or value for name, value in RETENTION.items()}


def count_old_flow_runs() -> int:
    """Return how many flow runs of the embedded database are old enough to be deleted; 0 for another database."""
    database = _embedded_database()
    if database is None:
        return 0
    since = datetime.now(UTC) - timedelta(seconds=float(retention_environment()[_PERIOD]))
    query = "SELECT count(*) FROM flow_run WHERE parent_task_run_id IS NULL AND end_time < ?"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            (number,) = connection.execute(query, (f"{since:%Y-%m-%d %H:%M:%S}",)).fetchone()
    except sqlite3.Error:
        return 0
    return int(number)


def delete_old_flow_runs() -> None:
    """Delete them with their logs, task runs and artifacts, and old events; give their space back to the disk.

    Raises:
        VacuumError: that failed.
    """
    database = _embedded_database()
    if database is None:
        return
    command = [sys.executable, "-m", "tasks.services.prefect_vacuum"]
    with child_process("the deletion of old flow runs", command, retention_environment()) as child:
        child.process.wait()
        if child.process.returncode:
            raise VacuumError(f"could not delete old flow runs: {child.last_error()}")
    shrink(database)


def _embedded_database() -> Path | None:
    """Return Prefect's database if it is the embedded one and exists."""
    database = embedded_prefect_database()
    return database if database and database.exists() else None


async def vacuum() -> None:
    """Delete old flow runs and events of the database of the environment."""
    from prefect.server.database import provide_database_interface
    from prefect.server.services import db_vacuum

    database = provide_database_interface()
    await db_vacuum.vacuum_old_flow_runs(db=database)
    await db_vacuum.vacuum_events_with_retention_overrides(db=database)
    await db_vacuum.vacuum_old_events(db=database)


if __name__ == "__main__":
    asyncio.run(vacuum())
