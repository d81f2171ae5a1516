"""Task that ends an MLflow run."""

from __future__ import annotations

from prefect import task

from tasks.store import LeaseError, RunStatus, store_in_use


@task(task_run_name="end run: {status}")
def finish_run(run_id: str, status: RunStatus, reason: str | None = None) -> None:
    """End the MLflow run, unless another process is training it and will end it."""
    store = store_in_use()
    try:
        store.lease(run_id).raise_if_held()
    except LeaseError:
        return
    store.finish_run(run_id, status, reason)
