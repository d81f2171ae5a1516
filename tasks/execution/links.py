"""Links to MLflow's UI, for artifacts and messages; where nothing serves it, the place itself."""

from __future__ import annotations

from tasks.execution.endpoints import addresses
from tasks.store import Store


def link(store: Store, run_id: str, artifact_path: str | None = None) -> str:
    """Where a person sees a run, or an artifact of it."""
    running, shown = addresses(store.address), store.address.shown
    if running:
        return running.mlflow + store.page(run_id, artifact_path)
    if shown.startswith(("http://", "https://")):
        return shown.rstrip("/") + store.page(run_id, artifact_path)
    return store.artifact_uri(run_id, artifact_path)
