"""Checked input, the store and the Prefect server of one command."""

from __future__ import annotations

import importlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from flows.cli.terminal import Terminal
from flows.runtime.gc_tuning import leave_imports

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.store import Store


class BadInputError(ValueError):
    """The command cannot be done as it was given; nothing was done."""


@contextmanager
def checking() -> Iterator[None]:
    """What fails in here is bad input: nothing has been done yet."""
    from tasks.arcade.errors import RamreelError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInputError(f"{where.replace('_', '-')}: {_words(first)}") from None
    except RamreelError as error:
        raise BadInputError(str(error)) from None
    except OSError as error:
        # A name that no file can have; what the store's disk says is a StoreError.
        raise BadInputError(f"{error.filename}: {error.strerror}") from None


def _words(error: ErrorDetails) -> str:
    """A validation error in words; what was given is shown where it is short."""
    message = error["msg"].removeprefix("Value error, ")
    given = repr(error["input"])
    return message if len(given) > 60 else f"{message}, got {given}"


def embedded_store(tracking_uri: str | None) -> Store:
    """The store, found to be usable; what runs later finds the same one, and Prefect its database beside it."""
    from tasks.store import open_store

    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    with checking():
        return open_store()


def prepare_prefect(*, serves: bool = False) -> None:
    """Prefect's own settings, where the user has not made any; a place for its database, where it is ours.

    Args:
        serves: a server of ours is started, whichever else is named.

    Raises:
        BadInputError: there can be none.
    """
    from tasks.execution.endpoints import prefect_database
    from tasks.store import find_home

    home = find_home() / "mlruns"
    ours = prefect_database(find_home())
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": ours,
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # A server that is away is asked again for about four minutes, longer each time.
        "PREFECT_CLIENT_MAX_RETRIES": "7",
        # Each of its own tries in vain would be lines of internals on standard error.
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        # A failed flow is told in one line; its traceback is in Prefect's log of the flow run.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
    from tasks.services.servers import starts_its_own

    if not (serves or starts_its_own()) or os.environ["PREFECT_API_DATABASE_CONNECTION_URL"] != ours:
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Asking for permissions says yes to root even on a read-only disk; an unnamed file leaves no trace.
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise BadInputError(
            f"cannot write to {home} ({error.strerror}), where Prefect's database would be: set RAMREEL_HOME to a "
            "folder that can be, or PREFECT_API_URL to a server"
        ) from None
    _check_database(home / "prefect.db")


def _check_database(file: Path) -> None:
    """Over what is no database Prefect's server would be started again and again, for minutes."""
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return
        raise BadInputError(
            f"cannot use {file}, Prefect's database ({error}): move it away, and a new one is made, or set "
            "PREFECT_API_URL to a server"
        ) from None


@contextmanager
def shown(as_json: bool, quiet: bool = False) -> Iterator[Terminal]:
    """The terminal, which also hears what the flows tell."""
    from tasks.execution.progress_sink import before

    with Terminal(as_json=as_json, quiet=quiet) as terminal, before(terminal):
        yield terminal


@contextmanager
def running(flow: str, as_json: bool, quiet: bool = False) -> Iterator[Terminal]:
    """The terminal and a Prefect server, for the flow inside.

    Args:
        flow: its module, imported while the server starts: both take seconds.
        as_json: standard output is for one JSON object.
        quiet: nothing is said under way.
    """
    from tasks.services.servers import started_prefect

    def meanwhile() -> None:
        importlib.import_module(flow)
        leave_imports()

    with shown(as_json, quiet) as terminal, started_prefect(meanwhile):
        yield terminal
