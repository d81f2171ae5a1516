"""Where the store is, whether it can be used, and the way in."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tasks.store.models import StoreError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these while it is imported, so they are set before anything in this room can import it.
for _name, _value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Otherwise it prints a server's address at each run's end, password and all.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}.items():
    os.environ.setdefault(_name, _value)

_SQLITE = "sqlite:///"
_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 10
_EXAMPLES = "http://localhost:5000 or sqlite:////home/me/mlruns/mlflow.db"


@dataclass(frozen=True)
class Address:
    """A tracking address.

    Attributes:
        uri: as MLflow takes it; a SQLite file's path is made absolute.
        database: the SQLite file; none if the store is someone else's, and then nothing is assumed about local files.
    """

    uri: str
    database: Path | None

    @property
    def artifacts(self) -> Path | None:
        """The folder for new experiments' artifacts: beside the SQLite file; none: the tracking server knows."""
        return self.database and self.database.parent / "artifacts"

    @property
    def shown(self) -> str:
        """The address as one may print it: without a password."""
        return one_line(ValueError(self.uri))


def find_address(tracking_uri: str | None) -> Address:
    """The argument, else `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the project's home."""
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{find_home() / 'mlruns' / 'mlflow.db'}"
    if not uri.startswith(_SQLITE):
        return Address(uri, None)
    database = Path(uri.removeprefix(_SQLITE)).absolute()
    return Address(f"{_SQLITE}{database}", database)


def find_home() -> Path:
    """`RAMREEL_HOME`, else the nearest folder upwards that is ramreel's or holds `mlruns`, else the working folder."""
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


def is_fresh(address: Address) -> bool:
    """Whether nothing was ever stored there: a SQLite file that is not there yet, or empty."""
    database = address.database
    return database is not None and not (database.exists() and database.stat().st_size)


def check(address: Address) -> None:
    """Find out within seconds whether the store can be used, and write nothing.

    Raises:
        StoreError: no server answers, the folder cannot be written to, or it is no store of MLflow's.
    """
    try:
        _check(address)
    except StoreError:
        raise
    except Exception as error:
        # Whatever MLflow, SQLAlchemy or the system make of nonsense.
        raise StoreError(f"cannot use {address.shown}: {one_line(error)}; right would be {_EXAMPLES}") from None


def _check(address: Address) -> None:
    if address.database is not None:
        _check_folder(address.database)
        _check_database(address)
    elif address.uri.startswith(("http://", "https://")):
        _check_server(address)
    elif address.uri.startswith(("postgresql", "mysql")):
        _check_sql_server(address)
    if not is_fresh(address):
        connect(address)


def _check_folder(database: Path) -> None:
    if odd := [sign for sign in "?%" if sign in str(database.parent)]:
        # SQLAlchemy would take what follows for options or a code, and write to another place.
        raise StoreError(
            f"cannot keep databases in {database.parent}, for {' and '.join(odd)} in a path means something else in "
            "their addresses: set RAMREEL_HOME or --tracking-uri to another folder"
        )
    folder = next(parent for parent in database.parents if parent.exists())
    try:
        # Asking for permissions says yes to root even on a read-only disk; an unnamed file leaves no trace.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder} ({error.strerror}): set RAMREEL_HOME or --tracking-uri to a folder that can be"
        ) from error


def _check_database(address: Address) -> None:
    if is_fresh(address):
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{address.database}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        raise StoreError(f"cannot use {address.database}: {error}; right would be {_EXAMPLES}") from error


def _check_server(address: Address) -> None:
    # MLflow's own client is patient for minutes, which is right during a training and wrong before one.
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request_safe

    try:
        http_request_safe(  # type: ignore[no-untyped-call]
            get_default_host_creds(address.uri),  # type: ignore[no-untyped-call]
            "/api/2.0/mlflow/experiments/search",
            "POST",
            json={"max_results": 1},
            max_retries=0,
            timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
        )
    except (MlflowException, OSError) as error:
        raise _unreachable(address, error) from None


def _check_sql_server(address: Address) -> None:
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(address.uri, connect_args={"connect_timeout": _CONNECT_SECONDS})
        with engine.connect():
            pass
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise _unreachable(address, error) from None


def _unreachable(address: Address, error: Exception) -> StoreError:
    return StoreError(
        f"no MLflow tracking server answers at {address.shown}: start it, or set MLFLOW_TRACKING_URI or "
        f"--tracking-uri to one that does ({one_line(error)})"
    )


@cache
def connect(address: Address) -> MlflowClient:
    """MLflow's client; a SQLite file that is not there yet is made first."""
    from mlflow import MlflowClient

    # MLflow prints the traceback of every database error besides raising it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if address.database is not None:
        _create(address, address.database)
    return MlflowClient(tracking_uri=address.uri, registry_uri=address.uri)


def _create(address: Address, database: Path) -> None:
    """Make the SQLite file, whole or not at all, however many processes want it at once.

    MLflow migrates in place and without a lock: two processes that start together, or one that is stopped half-way,
    would leave a database that nobody can open.
    """
    if not is_fresh(address):
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        if is_fresh(address):
            unfinished = database.with_name(f"{database.name}.unfinished")
            for leftover in database.parent.glob(f"{unfinished.name}*"):
                leftover.unlink()
            _migrate(unfinished, database.parent / "artifacts")
            unfinished.replace(database)


def _migrate(database: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger("alembic").setLevel(logging.WARNING)
    store = SqlAlchemyStore(f"{_SQLITE}{database}", artifacts.as_uri())  # type: ignore[no-untyped-call]
    store.engine.dispose()
    # With a write-ahead log readers never wait for writers, and a commit costs one sync. The file remembers it.
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
