"""Status of the MLflow run of a flow. Separate from training, so that a comparison does not import torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.exceptions import TerminationSignal

from tasks.run_status import finish_run
from tasks.store import StoreError, one_line


@contextmanager
def active_run(run_id: str) -> Iterator[None]:
    """End the MLflow run with the block: FINISHED, FAILED with the reason, or KILLED."""
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
