"""The PostgreSQL database that Prefect's and MLflow's servers share: connection, schemas, and a lock on it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.services.errors import ServiceConfigurationError
from tasks.store import one_line

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

PREFECT_SCHEMA, MLFLOW_SCHEMA, USERS_SCHEMA = "prefect", "mlflow", "mlflow_users"
"""Schemas of Prefect's tables, of MLflow's tables, and of the table of MLflow's users."""
_DRIVER = "postgresql+psycopg2"
_EXAMPLE = "postgresql+psycopg2://user@host/database"
_CONNECT_SECONDS = 5
_LOCK_NUMBER = int.from_bytes(b"ramreelu")
_APPLICATION = "ramreel up on "
_HOLDER = f"""
SELECT application_name FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) + objid::bigint = {_LOCK_NUMBER}
"""  # noqa: S608


class DatabaseError(ServiceConfigurationError):
    """The database cannot be used; the message is one line without a password."""


@dataclass(frozen=True)
class Database:
    """A PostgreSQL database.

    Attributes:
        url: its URL for SQLAlchemy; its password is not part of any text that this class returns.
    """

    url: URL

    @property
    def environment(self) -> dict[str, str]:
        """Variables that hold the password for processes, whose arguments every user of a machine can read."""
        return {"PGPASSWORD": str(self.url.password)} if self.url.password else {}

    def uri(self, driver: str, schema: str | None = None) -> str:
        """Return the URI without the password, with a schema in which unqualified tables are created and found."""
        url = _without_password(self.url.set(drivername=driver))
        return (url.update_query_dict({"options": f"-csearch_path={schema}"}) if schema else url).render_as_string()

    @property
    def name(self) -> str:
        """The database and its server, for messages."""
        return self.uri(_DRIVER)

    def check(self) -> None:
        """Check that the database answers and that its user may create schemas in it, without changing it.

        Raises:
            DatabaseError: it does not, or the user may not.
        """
        import sqlalchemy

        with self._connected() as connection:
            may_create = connection.scalar(
                sqlalchemy.text("SELECT has_database_privilege(current_database(), 'CREATE')")
            )
        if not may_create:
            raise DatabaseError(
                f"the user of {self.name} may not create schemas: GRANT CREATE ON DATABASE {self.url.database} TO "
                f"{self.url.username}"
            )

    def create_schemas(self) -> None:
        """Create the schemas that are missing."""
        import sqlalchemy

        with self._connected() as connection:
            for schema in (PREFECT_SCHEMA, MLFLOW_SCHEMA, USERS_SCHEMA):
                connection.execute(sqlalchemy.text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))

    @contextmanager
    def locked(self) -> Iterator[DatabaseLock]:
        """Keep every other `ramreel up` off this database while the block runs.

        Raises:
            DatabaseError: another one is running on it.
        """
        lock = DatabaseLock(self)
        try:
            lock.acquire()
            yield lock
        finally:
            lock.release()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        connection = self.connect()
        try:
            yield connection
        finally:
            connection.close()

    def connect(self) -> Connection:
        """Open a connection.

        Raises:
            DatabaseError: the server does not respond, or refuses the credentials.
        """
        import sqlalchemy

        options = {"connect_timeout": _CONNECT_SECONDS, "application_name": f"{_APPLICATION}{socket.gethostname()}"}
        engine = sqlalchemy.create_engine(
            self.url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT", connect_args=options
        )
        try:
            return engine.connect()
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise DatabaseError(
                f"cannot use the database {self.name}: {one_line(getattr(error, 'orig', None) or error)}"
            ) from None


class DatabaseLock:
    """PostgreSQL's advisory lock; the server releases it when the connection ends, however it ends."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def acquire(self) -> None:
        """Acquire the lock.

        Raises:
            DatabaseError: another `ramreel up` holds it, or the server does not respond.
        """
        import sqlalchemy

        connection = self._database.connect()
        if not connection.scalar(sqlalchemy.text(f"SELECT pg_try_advisory_lock({_LOCK_NUMBER})")):
            holder = str(connection.scalar(sqlalchemy.text(_HOLDER)) or "").removeprefix(_APPLICATION)
            connection.close()
            raise DatabaseError(
                f"`ramreel up` is already running on {self._database.name}{f', on {holder}' if holder else ''}: stop "
                "it first, or let this machine join it with `ramreel worker`"
            )
        self._connection = connection

    def renew(self) -> None:
        """Acquire the lock again if the server has ended the connection; later if it does not respond.

        Raises:
            DatabaseError: another `ramreel up` has acquired it meanwhile.
        """
        import sqlalchemy

        try:
            if self._connection is not None:
                self._connection.execute(sqlalchemy.text("SELECT 1"))
                return
        except sqlalchemy.exc.SQLAlchemyError:
            self.release()
        try:
            self._database.connect().close()
        except DatabaseError:
            return
        self.acquire()

    def release(self) -> None:
        """Release the lock."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


def parse_database(uri: str) -> Database:
    """Return the database of a URI.

    Raises:
        DatabaseError: it is not the URI of a PostgreSQL database.
    """
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(uri)
    except sqlalchemy.exc.ArgumentError:
        raise DatabaseError(f"not the URI of a PostgreSQL database: use one such as {_EXAMPLE}") from None
    if url.drivername not in ("postgresql", _DRIVER) or not (url.host and url.database and url.username):
        raise DatabaseError(
            f"{str(_without_password(url))!r} is not the URI of a PostgreSQL database: use one such as {_EXAMPLE}"
        )
    if url.query:
        raise DatabaseError(
            f"the URI of the database must have no options, got {', '.join(url.query)}: set variables of PostgreSQL "
            "such as PGSSLMODE instead"
        )
    return Database(url.set(drivername=_DRIVER))


def _without_password(url: URL) -> URL:
    # `URL.set` leaves a password alone for None.
    return url._replace(password=None)
