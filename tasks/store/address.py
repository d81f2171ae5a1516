"""Tracking URIs: which store is used, and where an embedded one is on disk."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from tasks.store.errors import one_line

_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Address:
    """The address of a store.

    Attributes:
        uri: MLflow tracking URI; the path of a SQLite file is absolute.
        database: path of the SQLite file; None for any other store, and then nothing is assumed about local files.
    """

    uri: str
    database: Path | None

    @property
    def artifacts(self) -> Path | None:
        """Folder for the artifacts of new experiments, next to the SQLite file; None if the server decides."""
        return self.database and self.database.parent / "artifacts"

    @property
    def is_server(self) -> bool:
        """Whether it is the URL of an MLflow tracking server."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def redacted_uri(self) -> str:
        """The URI without a password, for messages."""
        return one_line(ValueError(self.uri))

    @property
    def is_fresh(self) -> bool:
        """Whether the store is a SQLite file that is missing or empty."""
        database = self.database
        return database is not None and not (database.exists() and database.stat().st_size)


def find_address(tracking_uri: str | None) -> Address:
    """Return the address of a tracking URI, else of `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the home."""
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{find_home() / 'mlruns' / 'mlflow.db'}"
    if not uri.startswith(_SQLITE):
        return Address(uri, None)
    database = Path(uri.removeprefix(_SQLITE)).absolute()
    return Address(f"{_SQLITE}{database}", database)


def find_home() -> Path:
    """Return `RAMREEL_HOME`, else the closest parent folder that is a ramreel project, else the working directory."""
    if home := os.environ.get("RAMREEL_HOME"):
        return Path(home).expanduser().absolute()
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if _is_home(folder)), here)


def _is_home(folder: Path) -> bool:
    if (folder / "mlruns").is_dir():
        return True
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        return False
    return bool(project.get("name") == "ramreel")
