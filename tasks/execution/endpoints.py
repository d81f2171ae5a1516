"""Addresses of the servers that a running `ramreel up` serves over a store."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx
from pydantic import ValidationError

from tasks.arcade.settings.base import Settings
from tasks.store import find_home
from tasks.store.address import Address


class ServerAddresses(Settings):
    """Base URLs of both servers and of the gallery, without a trailing slash."""

    prefect: str
    mlflow: str
    gallery: str | None = None

    @property
    def api(self) -> str:
        """URL of Prefect's API."""
        return f"{self.prefect}/api"


class _Published(ServerAddresses):
    """The addresses as written next to a database.

    Attributes:
        database: the database, of which a copy may have this file, too.
    """

    database: Path

    def is_of(self, database: Path) -> bool:
        try:
            return self.database.samefile(database)
        except OSError:
            return False


@contextmanager
def published(address: Address, servers: ServerAddresses) -> Iterator[None]:
    """Write the servers' addresses next to the store's database, and remove them when the block ends."""
    file, database = _file(address), address.database
    assert file is not None
    assert database is not None
    file.write_text(_Published(**dict(servers), database=database).model_dump_json(), "utf-8")
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def running_servers(address: Address) -> ServerAddresses | None:
    """Return the addresses of the servers over this store; None if none is running or the store is a server."""
    file, database = _file(address), address.database
    if file is None or database is None:
        return None
    try:
        found = _Published.model_validate_json(file.read_text("utf-8"))
    except (OSError, ValidationError):
        return None
    # The file outlives a `ramreel up` that was killed.
    if not found.is_of(database) or not is_healthy(f"{found.api}/health"):
        return None
    return ServerAddresses(prefect=found.prefect, mlflow=found.mlflow, gallery=found.gallery)


def prefect_database(home: Path) -> str:
    """Return the connection URL of the embedded Prefect database."""
    return f"sqlite+aiosqlite:///{home / 'mlruns' / 'prefect.db'}"


def embedded_prefect_database() -> Path | None:
    """Return the file of Prefect's database; None if it is not the embedded one, which this home's commands use."""
    home = find_home()
    if os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL") != prefect_database(home):
        return None
    return home / "mlruns" / "prefect.db"


def _file(address: Address) -> Path | None:
    return address.database and address.database.with_name("up.json")


def is_healthy(url: str) -> bool:
    """Return whether a health check on this machine answers 200 within five seconds."""
    try:
        # Without the environment's proxies: the server is on loopback.
        response = httpx.get(url, timeout=5, trust_env=False, verify=_certificates())
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        return False
    return response.status_code == httpx.codes.OK


@cache
def _certificates() -> ssl.SSLContext:
    """Return the trusted certificates; reading them takes longer than a request, of which a start needs hundreds."""
    return httpx.create_ssl_context(trust_env=False)
