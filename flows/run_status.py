"""How the MLflow run of a flow ends. Apart from training, so that a comparison does without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prefect.exceptions import TerminationSignal

from tasks.run_status import finish_run
from tasks.store import StoreError, one_line


@contextmanager
def ending(run_id: str) -> Iterator[None]:
    """However it ends, the MLflow run says so: finished, failed with the reason, or killed."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, TerminationSignal):
        # A store that is away makes no failure of a stop.
        with suppress(StoreError):
            finish_run.fn(run_id, "KILLED", "stopped by hand")
        raise
    except BaseException as error:
        # A store that cannot take the reason must not hide it: a full disk fails twice.
        with suppress(StoreError):
            finish_run(run_id, "FAILED", type(error).__name__ + (f": {one_line(error)}" if str(error) else ""))
        raise
    finish_run(run_id, "FINISHED")
