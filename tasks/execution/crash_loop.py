"""Limit on how often a flow run that crashes is started again."""

from __future__ import annotations

from prefect.runtime import flow_run

from tasks.arcade.errors import RamreelError

MAX_STARTS = 10
"""Starts of one flow run, manual retries in Prefect's UI included."""


class CrashLoopError(RamreelError):
    """A flow run was started too often; the message is one line."""


def refuse_crash_loop() -> None:
    """Fail the flow run for good if it was started more than `MAX_STARTS` times.

    Raises:
        CrashLoopError: it was.
    """
    if flow_run.run_count > MAX_STARTS:
        raise CrashLoopError(f"started {MAX_STARTS} times and crashed each time: see its logs, then start a new run")
