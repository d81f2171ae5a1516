"""Links to runs and artifacts in MLflow's UI, and the address of the gallery."""

from __future__ import annotations

import os

from tasks.arcade.errors import RamreelError
from tasks.execution.endpoints import running_servers
from tasks.store import Store

DEFAULT_UI = "http://127.0.0.1:5000"
"""Address of MLflow's UI of `ramreel up`, by default."""
UI_ENVIRONMENT = "RAMREEL_MLFLOW_UI_URL"
"""Environment variable with the address of MLflow's UI for people, where it is not that of the flows."""

GALLERY_ENVIRONMENT = "RAMREEL_GALLERY_URL"
"""Environment variable with the address of the gallery, where `ramreel up` runs on another machine."""


class LinkError(RamreelError):
    """The address of MLflow's UI is not a URL."""


def check_ui_address() -> None:
    """Check the configured address of MLflow's UI, if there is one.

    Raises:
        LinkError: it is not a URL.
    """
    if (address := os.environ.get(UI_ENVIRONMENT)) and not _is_url(address):
        raise LinkError(f"{UI_ENVIRONMENT} must be a URL such as https://mlflow.example.org, got {address!r}")


def mlflow_url(store: Store, run_id: str, artifact_path: str | None = None) -> str:
    """Return the URL of a run, or of an artifact, in MLflow's UI; the artifact's own URI if no server is running."""
    if address := _ui_address(store):
        return address + store.ui_path(run_id, artifact_path)
    return store.artifact_uri(run_id, artifact_path)


def gallery_address(store: Store) -> str | None:
    """Return the URL of the gallery over a store: that of `RAMREEL_GALLERY_URL`, else of a running `ramreel up`."""
    if address := os.environ.get(GALLERY_ENVIRONMENT):
        return address.rstrip("/")
    running = running_servers(store.address)
    return running.gallery if running else None


def page_url(store: Store, run_id: str, artifact_path: str | None = None) -> str:
    """Return the URL of a run, or of an artifact, for an artifact in Prefect, whose UI is there while MLflow's is.

    While neither is running, it is the URL under which `ramreel up` will serve it: at its default port, unless
    `complete_links` gives it another one.
    """
    if store.address.database is None:
        return mlflow_url(store, run_id, artifact_path)
    return (_ui_address(store) or DEFAULT_UI) + store.ui_path(run_id, artifact_path)


def _ui_address(store: Store) -> str | None:
    if address := os.environ.get(UI_ENVIRONMENT):
        return address.rstrip("/")
    if running := running_servers(store.address):
        return running.mlflow
    shown = store.address.redacted_uri.rstrip("/")
    return shown if _is_url(shown) else None


def _is_url(address: str) -> bool:
    return address.startswith(("http://", "https://"))
