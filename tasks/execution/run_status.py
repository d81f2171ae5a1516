"""Status of the MLflow run of a flow: FINISHED, FAILED or KILLED, however the flow ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect import task
from prefect.context import TagsContext
from prefect.exceptions import TerminationSignal

from tasks.execution.progress_sink import current_sink
from tasks.store import LeaseError, RunStatus, StoreError, one_line, store_in_use


@contextmanager
def when_stopped(line: str) -> Iterator[None]:
    """Report a line if the block is stopped, by Ctrl-C or SIGTERM."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, TerminationSignal):
        current_sink().log(line)
        raise


@contextmanager
def active_run(run_id: str, again: str = "run the command again") -> Iterator[None]:
    """End the MLflow run with the block: FINISHED, FAILED with the reason, or KILLED.

    Args:
        run_id: the run.
        again: how to resume it, for whoever stops it.
    """
    # A task run with the tags of a command would ask the Prefect server for a slot, and wait while it is away.
    with when_stopped(f"stopped run {run_id}: {again}"), TagsContext(current_tags=set()):
        try:
            yield
        except (KeyboardInterrupt, SystemExit, TerminationSignal):
            # An unavailable store must not turn a stop into a failure.
            with suppress(StoreError):
                finish_run.fn(run_id, "KILLED", "stopped by the user")
            raise
        except BaseException as error:
            # A store that cannot take the reason must not hide it: a full disk fails twice.
            with suppress(StoreError):
                finish_run(run_id, "FAILED", type(error).__name__ + (f": {one_line(error)}" if str(error) else ""))
            raise
        finish_run(run_id, "FINISHED")


@task(task_run_name="end run: {status}")
def finish_run(run_id: str, status: RunStatus, reason: str | None = None) -> None:
    """End the MLflow run, unless another process is training it and will end it."""
    store = store_in_use()
    try:
        store.lease(run_id).raise_if_held()
    except LeaseError:
        return
    store.finish_run(run_id, status, reason)
