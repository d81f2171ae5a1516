"""Connections to MLflow: the environment it is imported in, checks before use, and the client."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tasks.store import mlflow_internals
from tasks.store.address import Address
from tasks.store.errors import StoreError, one_line
from tasks.store.file_systems import is_on_network
from tasks.store.migration import migrate_older
from tasks.store.relocation import keep_locations_within

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CONNECT_SECONDS = 3
_ANSWER_SECONDS = 10
_EXAMPLES = "http://localhost:5000 or sqlite:////home/me/mlruns/mlflow.db"


def configure_mlflow() -> None:
    """Set MLflow's environment variables that are unset: no telemetry, no output of its own.

    MLflow reads some of them while it is imported, so this comes before its first import; processes that are started
    later inherit them.
    """
    for name, value in {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        # Otherwise it prints the server's URI, with the password, at the end of each run.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }.items():
        os.environ.setdefault(name, value)


def check(address: Address) -> None:
    """Check within seconds that a store can be used, without writing to it.

    Raises:
        StoreError: the server does not respond, the folder is not writable, or it is not a store of MLflow.
    """
    configure_mlflow()
    try:
        _check(address)
    except StoreError:
        raise
    except Exception as error:
        # MLflow, SQLAlchemy and the operating system raise anything for an invalid URI.
        raise StoreError(
            f"cannot use {address.redacted_uri}: {one_line(error)}; use a URI such as {_EXAMPLES}"
        ) from None


def _check(address: Address) -> None:
    if address.database is not None:
        _check_folder(address.database)
        _check_database(address)
    elif address.is_server:
        _check_server(address)
    elif address.uri.startswith(("postgresql", "mysql")):
        _check_sql_server(address)
    if not address.is_fresh:
        connect(address)


def _check_folder(database: Path) -> None:
    if invalid := [character for character in "?%" if character in str(database.parent)]:
        # SQLAlchemy would parse the rest as options or as an escape, and write to another place.
        raise StoreError(
            f"cannot keep databases in {database.parent}: {' and '.join(invalid)} in a path has another meaning in "
            "their URIs; set RAMREEL_HOME or --tracking-uri to another folder"
        )
    folder = next(parent for parent in database.parents if parent.exists())
    try:
        # os.access returns True to root even on a read-only disk; an unnamed file leaves no trace.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder} ({error.strerror}): set RAMREEL_HOME or --tracking-uri to a writable folder"
        ) from error


def _check_database(address: Address) -> None:
    if address.is_fresh:
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{address.database}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        raise StoreError(f"cannot use {address.database}: {error}; use a URI such as {_EXAMPLES}") from error


def _check_server(address: Address) -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow_internals.ping_server(address.uri, (_CONNECT_SECONDS, _ANSWER_SECONDS))
    except (MlflowException, OSError) as error:
        if "error code 401" in str(error):
            raise StoreError(
                f"the MLflow tracking server at {address.redacted_uri} refuses the credentials: set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            ) from None
        raise _unreachable(address, error) from None


def server_version(address: Address) -> str | None:
    """Return the version of the tracking server at an address; None if it is not the address of a server.

    Raises:
        StoreError: it does not respond.
    """
    if not address.is_server:
        return None
    configure_mlflow()
    try:
        return mlflow_internals.server_version(address.uri, (_CONNECT_SECONDS, _ANSWER_SECONDS))
    except OSError as error:
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
        f"no MLflow tracking server responds at {address.redacted_uri}: start it, or set MLFLOW_TRACKING_URI or "
        f"--tracking-uri to one that does ({one_line(error)})"
    )


def connect(address: Address) -> MlflowClient:
    """Return MLflow's client; a SQLite file that is missing is created first, and one that was moved is updated.

    Call it for each operation: another process may use the same file by another path, such as that of a container.

    Raises:
        StoreError: the SQLite file was moved or deleted while this process was using it.
    """
    client = _connect(address)
    if address.database is not None:
        keep_locations_within(address.database)
    return client


@cache
def _connect(address: Address) -> MlflowClient:
    configure_mlflow()
    from mlflow import MlflowClient

    mlflow_internals.quiet_database_errors()
    if address.database is not None:
        _create(address, address.database)
        migrate_older(address.database)
        _leave_write_ahead_log(address.database)
    return MlflowClient(tracking_uri=address.uri, registry_uri=address.uri)


def _create(address: Address, database: Path) -> None:
    """Create the SQLite file atomically, also when several processes do so at the same time.

    MLflow migrates in place and without a lock: two processes that start together, or one that is killed during the
    migration, would leave a database that cannot be opened.
    """
    if not address.is_fresh:
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        if address.is_fresh:
            unfinished = database.with_name(f"{database.name}.unfinished")
            for leftover in database.parent.glob(f"{unfinished.name}*"):
                leftover.unlink()
            mlflow_internals.create_database(unfinished, database.parent / "artifacts")
            if not is_on_network(database.parent):
                # With a write-ahead log readers never wait for writers, and a commit costs one sync; the file keeps it.
                with contextlib.closing(sqlite3.connect(unfinished)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
            unfinished.replace(database)


def _leave_write_ahead_log(database: Path) -> None:
    """Use SQLite's rollback journal on a network file system: with a write-ahead log, two machines lose writes."""
    with database.open("rb") as file:
        has_log = file.read(20)[18:] == b"\x02\x02"
    if not has_log or not is_on_network(database.parent):
        return
    # While another process uses the file, it is left as it is.
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(database)) as connection:
        # Exclusive access needs no shared memory, which the file system may refuse.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("PRAGMA journal_mode=DELETE")
