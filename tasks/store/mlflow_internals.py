"""The parts of MLflow that are not its public API, each with its reason; tried with MLflow 3.17.2.

MLflow may change them in any release: the tests in `tests/tasks/store` exercise every one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

DATABASE_LOGGER = "mlflow.store.db.utils"
"""Logger that logs the traceback of every database error, which MLflow raises as well."""
MIGRATION_LOGGER = "alembic"
"""Logger that logs one line per migration of a new database."""
_OWN_CONNECTION = {"Connection": "close"}
"""Header of a request without retries: a kept-alive connection may be reset by the server when it is used again."""
LOCATION_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
"""Columns of the database with artifact locations, by table; the public API sets them when a row is created only."""


def quiet_database_errors() -> None:
    """Turn off the logged tracebacks of database errors."""
    logging.getLogger(DATABASE_LOGGER).setLevel(logging.CRITICAL)


def create_database(database: Path, artifacts: Path) -> None:
    """Create and migrate a SQLite tracking store; MLflow's public API only does so in place, on first use.

    Args:
        database: path of the new SQLite file.
        artifacts: folder of the default experiment's artifacts.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger(MIGRATION_LOGGER).setLevel(logging.WARNING)
    store = SqlAlchemyStore(f"sqlite:///{database}", artifacts.as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()


def migrate_database(database: Path) -> None:
    """Migrate a SQLite tracking store in place; MLflow's public command does so in another process."""
    import sqlalchemy
    from mlflow.store.db.utils import _upgrade_db

    logging.getLogger(MIGRATION_LOGGER).setLevel(logging.WARNING)
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    _upgrade_db(engine)  # type: ignore[no-untyped-call]
    engine.dispose()


def forget_artifact_locations() -> None:
    """Discard the artifact locations that MLflow's client has cached in this process, by run and logged model."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


def latest_points(run: Run) -> dict[str, tuple[int, float]]:
    """Return the latest (step, value) of each metric of a run; the public API returns the values only."""
    return {point.key: (point.step, point.value) for point in run.data._metric_objs}


def server_version(uri: str, timeout: tuple[float, float]) -> str:
    """Return the version of a tracking server, without retries; arguments as for `ping_server`."""
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    host = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    response = http_request(  # type: ignore[no-untyped-call]
        host, "/version", "GET", max_retries=0, timeout=timeout, extra_headers=_OWN_CONNECTION
    )
    return str(response.text)


def ping_server(uri: str, timeout: tuple[float, float]) -> None:
    """Send one request to a tracking server without retries; the public client retries for minutes.

    Args:
        uri: tracking URI.
        timeout: seconds to connect, and seconds to wait for the response.

    Raises:
        MlflowException, OSError: the server does not respond, or is not an MLflow tracking server.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request_safe

    http_request_safe(  # type: ignore[no-untyped-call]
        get_default_host_creds(uri),  # type: ignore[no-untyped-call]
        "/api/2.0/mlflow/experiments/search",
        "POST",
        json={"max_results": 1},
        max_retries=0,
        timeout=timeout,
        extra_headers=_OWN_CONNECTION,
    )


def artifact_repository(location: str, tracking_uri: str) -> ArtifactRepository:
    """Return the files at an artifact location; MLflow's public client deletes none."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(location, tracking_uri=tracking_uri)


def hard_deleting_store(client: MlflowClient) -> Any | None:
    """Return the store that can delete for good what is deleted; None behind a server, where only `mlflow gc` can."""
    store = client._tracking_client.store
    return store if hasattr(store, "_hard_delete_run") else None
