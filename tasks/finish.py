"""The end of an MLflow run."""

from __future__ import annotations

from prefect import task

from tasks.store import RunStatus, store_in_use


@task(task_run_name="end run: {status}")
def finish_run(run_id: str, status: RunStatus, reason: str | None = None) -> None:
    """End the MLflow run."""
    store_in_use().finish_run(run_id, status, reason)
