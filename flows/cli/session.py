"""The store, the Prefect server and the terminal of one command, and its checked input."""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from flows.cli.options import Given, option_name
from flows.cli.terminal import Terminal
from flows.runtime.gc_tuning import freeze_imports
from flows.runtime.proxies import check_proxies
from tasks.arcade.settings.base import Settings

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.store import Store

S = TypeVar("S", bound=Settings)
_LONGEST_INPUT = 60
"""Characters of an invalid value up to which an error repeats it."""


class InvalidInputError(ValueError):
    """The command line is invalid; nothing was done."""


@contextmanager
def validating() -> Iterator[None]:
    """Raise `InvalidInputError` for any error within the block, in which nothing is done yet."""
    from tasks.arcade.errors import RamreelError

    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = option_name(error.title, first["loc"])
        raise InvalidInputError(f"{name}: {_message(first)}" if name else _message(first)) from None
    except RamreelError as error:
        raise InvalidInputError(str(error)) from None
    except OSError as error:
        # Not a valid file name; an error of the store's disk is a StoreError.
        raise InvalidInputError(f"{error.filename}: {error.strerror}") from None


def validated(model: type[S], given: Given) -> S:
    """Return the input model of what was typed.

    Raises:
        InvalidInputError: a value is invalid or missing.
    """
    with validating():
        return model.model_validate(given)


def _message(error: ErrorDetails) -> str:
    message, value = error["msg"].removeprefix("Value error, "), repr(error["input"])
    return message if len(value) > _LONGEST_INPUT else f"{message}, got {value}"


def writable(path: Path, kind: str) -> Path:
    """Return a path at which a file can be created.

    Raises:
        InvalidInputError: its folder does not exist, or it is a folder itself.
    """
    with validating():
        possible = path.parent.is_dir() and not path.is_dir()
    if not possible:
        raise InvalidInputError(f"Cannot write a {kind} to {path}: name a file in an existing folder")
    return path


def announce(line: str, *, quiet: bool = False) -> None:
    """Print what a command does before its imports, which take seconds; print nothing if they are done."""
    if "mlflow" not in sys.modules:
        Terminal(as_json=False, quiet=quiet).log(f"{line}…")


def open_checked_store(tracking_uri: str | None) -> Store:
    """Open the store that this process and its children use, and check that it can be used.

    A tracking URI of the command line is exported as `MLFLOW_TRACKING_URI`: the flows and their worker processes read
    it there, like those of a deployment. As a parameter of the flows it would be a field of every form in Prefect's UI,
    and Prefect would store it, password included, with each flow run.

    Raises:
        InvalidInputError: the store cannot be used, or the address of MLflow's UI is not a URL.
    """
    from tasks.execution.links import check_ui_address
    from tasks.store import open_store

    if tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = tracking_uri
    with validating():
        check_ui_address()
        return open_store()


def configure_prefect(*, serves: bool = False) -> None:
    """Set Prefect's settings where the user has not, and check the place of its database if it is ours.

    Args:
        serves: the command starts a server, whether or not another one is configured.

    Raises:
        InvalidInputError: the database cannot be created or used, or the address of a proxy is invalid.
    """
    with validating():
        check_proxies()
    from tasks.execution.endpoints import embedded_prefect_database, prefect_database
    from tasks.store import find_home, keep_copy_of_older

    home = find_home() / "mlruns"
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_DATABASE_CONNECTION_URL": prefect_database(find_home()),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # With exponential backoff, an unavailable server is retried for about four minutes.
        "PREFECT_CLIENT_MAX_RETRIES": "7",
        # Prefect logs every failed attempt, and a failed flow's traceback; the command prints one line.
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    if "PREFECT_API_URL" in os.environ:
        # A server without its Redis or its database answers 500, and a proxy 504. The temporary server of a command
        # only does so for a lasting reason, such as a full disk.
        defaults["PREFECT_CLIENT_RETRY_EXTRA_CODES"] = "500,504"
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
    _keep_prefect_files(home)
    from tasks.services.temporary_server import uses_temporary_server

    database = embedded_prefect_database()
    if database is None or not (serves or uses_temporary_server()):
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
        # os.access says yes to root even on a read-only disk; an unnamed file leaves nothing behind.
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise InvalidInputError(
            f"Cannot write to {home} ({error.strerror}), the folder of Prefect's database: set RAMREEL_HOME to a "
            "writable folder, or PREFECT_API_URL to a server"
        ) from None
    _check_database(database)
    with validating():
        keep_copy_of_older(database, "prefect")


def _keep_prefect_files(folder: Path) -> None:
    """Let Prefect keep its own files in a folder of ours where the user's home cannot: a service account has none."""
    if "PREFECT_HOME" in os.environ:
        return
    own = Path(os.path.expanduser("~/.prefect"))  # noqa: PTH111 - Path.expanduser raises for a user without a home
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=own):
            pass
    except OSError:
        os.environ["PREFECT_HOME"] = str(folder / "prefect")
        with suppress(OSError):
            (folder / "prefect").mkdir(parents=True, exist_ok=True)
        if not own.is_absolute():
            # Nor does the user have an entry in /etc/passwd, as in a container: Prefect asks for the home all the same.
            os.environ["HOME"] = str(folder)
        if (profiles := own / "profiles.toml").is_file():
            os.environ.setdefault("PREFECT_PROFILES_PATH", str(profiles))


def _check_database(file: Path) -> None:
    """Check that a file is a SQLite database; otherwise Prefect would restart its server for minutes."""
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            return
        raise InvalidInputError(
            f"Cannot use {file}, Prefect's database ({error}): move it away, and a new one is created, or set "
            "PREFECT_API_URL to a server"
        ) from None


@contextmanager
def open_terminal(as_json: bool, quiet: bool = False) -> Iterator[Terminal]:
    """Open the terminal, to which everything within the block reports its progress."""
    from tasks.execution.progress_sink import use_sink

    with Terminal(as_json=as_json, quiet=quiet) as terminal, use_sink(terminal):
        yield terminal


@contextmanager
def flow_session(module: str, as_json: bool, quiet: bool = False, *lines: str) -> Iterator[Terminal]:
    """Open the terminal and provide a Prefect server, for a flow.

    Args:
        module: module of the flow, imported while the server starts, as both take seconds.
        as_json: reserve standard output for one JSON object.
        quiet: report no progress.
        lines: what is printed before the server is started; empty ones are left out.

    Raises:
        InvalidInputError: this machine has no shared memory for worker processes.
    """
    from tasks.execution.worker_processes import check_shared_memory
    from tasks.services.temporary_server import temporary_prefect_server, uses_temporary_server
    from tasks.store import without_passwords

    with validating():
        check_shared_memory()
    api = None if uses_temporary_server() else os.environ.get("PREFECT_API_URL")

    def import_flow() -> None:
        importlib.import_module(module)
        freeze_imports()

    with open_terminal(as_json, quiet) as terminal:
        for line in filter(None, lines):
            terminal.log(line)
        terminal.log(f"using Prefect at {without_passwords(api)}" if api else "starting Prefect…")
        with temporary_prefect_server(import_flow):
            yield terminal
