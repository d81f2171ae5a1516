"""Links to runs and artifacts in MLflow's UI."""

from __future__ import annotations

from tasks.execution.endpoints import running_servers
from tasks.store import Store


def mlflow_url(store: Store, run_id: str, artifact_path: str | None = None) -> str:
    """Return the URL of a run, or of an artifact, in MLflow's UI; the artifact's own URI if no server is running."""
    running, shown = running_servers(store.address), store.address.redacted_uri
    if running:
        return running.mlflow + store.ui_path(run_id, artifact_path)
    if shown.startswith(("http://", "https://")):
        return shown.rstrip("/") + store.ui_path(run_id, artifact_path)
    return store.artifact_uri(run_id, artifact_path)
