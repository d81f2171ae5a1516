"""Databases of Optuna studies: a SQLite file of one machine, or a PostgreSQL database that machines share."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from tasks.arcade.errors import RamreelError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL

HEARTBEAT_SECONDS = 10
STALE_SECONDS = 60
"""Age of a heartbeat after which its trial may be repeated by another process."""
_CONNECT_SECONDS = 5
_SQLITE_SECONDS = 60
# MLflow and Optuna both keep their schema's revision in a table `alembic_version`.
_SCHEMA = "optuna"
"""Schema of Optuna's tables in a PostgreSQL database, which may be MLflow's own."""
_LOCK_NUMBER = int.from_bytes(b"ramreel")


class StudyDatabaseError(RamreelError, ValueError):
    """The database of a study cannot be used; the message is one line without a password."""


@dataclass(frozen=True)
class StudyStorage:
    """An open database of studies.

    Attributes:
        rdb: Optuna's storage.
        lock: return a context manager that excludes all other processes on this database.
    """

    rdb: RDBStorage
    lock: Callable[[], AbstractContextManager[object]]


@contextmanager
def open_storage(uri: str, repeat: Callable[[Study, FrozenTrial], None]) -> Iterator[StudyStorage]:
    """Open the database of a SQLAlchemy URI; Optuna's tables are created if they are missing.

    Args:
        uri: URI of a SQLite file or of a PostgreSQL database.
        repeat: called for a trial that was set to failed because its heartbeats stopped.

    Raises:
        StudyDatabaseError: the database cannot be used.
    """
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        url = _parsed(uri)
        lock = _lock_of(url)
        # Optuna creates its tables without a lock: of two sweeps started at the same time, one would fail.
        with lock(), without_warnings():
            _create_schema(url)
            rdb = optuna.storages.RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs=_engine_options(url),
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=STALE_SECONDS,
                heartbeat_stale_trial_callback=repeat,
            )
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError, RuntimeError) as error:
        raise _unusable(error) from None
    try:
        yield StudyStorage(rdb, lock)
    finally:
        rdb.remove_session()
        rdb.engine.dispose()


def exists(uri: str) -> bool:
    """Return whether opening a database would not create a file."""
    url = _parsed(uri)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore Optuna's warnings that heartbeats are experimental, and meant for its own loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Heartbeat:
    """A thread that records the heartbeats of a running trial."""

    def __init__(self, rdb: RDBStorage, trial_id: int) -> None:
        self._rdb, self._trial_id = rdb, trial_id
        self._stopped = threading.Event()
        rdb.record_heartbeat(trial_id)
        self._thread = threading.Thread(target=self._send_heartbeats, name="ramreel-trial", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more heartbeats."""
        self._stopped.set()
        self._thread.join()

    def _send_heartbeats(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            try:
                self._rdb.record_heartbeat(self._trial_id)
            except Exception as error:
                # A database that is away for a while must not end a trial; the next heartbeat retries.
                logging.getLogger("ramreel").warning("heartbeat of a trial failed: %s", type(error).__name__)


def _parsed(uri: str) -> URL:
    """Return the URL of a supported database, with the schema of Optuna's tables."""
    import sqlalchemy

    url = sqlalchemy.make_url(uri)
    match url.get_backend_name():
        case "sqlite":
            return url
        case "postgresql":
            given = url.query.get("options", "")
            return url.update_query_dict({"options": f"{given} -csearch_path={_SCHEMA}".strip()})
        case other:
            raise StudyDatabaseError(
                f"a sweep's study cannot be kept in {other}: use PostgreSQL or SQLite, for instance "
                "postgresql+psycopg2://user@host/database"
            )


def _engine_options(url: URL) -> dict[str, object]:
    if url.get_backend_name() == "sqlite":
        # Processes that train trials at the same time write in turn.
        return {"connect_args": {"timeout": _SQLITE_SECONDS}}
    # A connection that the server closed, for instance when it restarted, is replaced.
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": _CONNECT_SECONDS}}


def _lock_of(url: URL) -> Callable[[], AbstractContextManager[object]]:
    if url.get_backend_name() == "postgresql":
        return partial(_advisory_lock, url)
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
    return partial(FileLock, f"{url.database}.lock")


@contextmanager
def _advisory_lock(url: URL) -> Iterator[None]:
    """Hold PostgreSQL's advisory lock; the server releases it when the connection ends, however it ends."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS}
    )
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(engine.connect())
            connection.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({_LOCK_NUMBER})"))
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise _unusable(error) from None
        yield


def _unusable(error: Exception) -> StudyDatabaseError:
    # SQLAlchemy's own message holds the statement and a link.
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    return StudyDatabaseError(f"cannot use the database of the sweep's study: {reason}")


def _create_schema(url: URL) -> None:
    """Create the schema for Optuna's tables; refuse MLflow's SQLite file, which has none.

    Raises:
        StudyDatabaseError: the file is MLflow's.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    if url.get_backend_name() == "postgresql":
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
    elif sqlalchemy.inspect(engine).has_table("experiments"):
        raise StudyDatabaseError(f"{url.database} is MLflow's database: keep the sweep's study in a file of its own")
