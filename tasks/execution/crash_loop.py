"""A flow run that is started again after each crash, and crashes each time, has to come to an end."""

from __future__ import annotations

from prefect.runtime import flow_run

from tasks.arcade.errors import RamreelError

MOST = 10
"""Starts of one flow run, a person's retries in Prefect's UI among them."""


class CrashLoopError(RamreelError):
    """A flow run was started too often; the message is one line."""


def refuse_crash_loop() -> None:
    """Raise `CrashLoopError`, which ends the flow run for good, if it was started too often."""
    if flow_run.run_count > MOST:
        raise CrashLoopError(f"started {MOST} times and crashed each time: see its logs, then start a new run")
