"""What the commands share: their options, how input is checked, how the services are found."""

from __future__ import annotations

import importlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from flows.cli.terminal import Terminal
from flows.runtime.gc_tuning import leave_imports

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from tasks.arcade.inputs.forms import EvaluationSettings
    from tasks.store import Store

ENV_HELP = "Environment id, e.g. ALE/Pong-v5; old ones like Pong-ram-v0 are understood."
Env = Annotated[str, typer.Argument(help=ENV_HELP)]
Run = Annotated[str, typer.Argument(help="MLflow run id, a beginning of it, a run name, or latest.")]
Steps = Annotated[int, typer.Option(help="Environment steps of training.")]
Every = Annotated[int, typer.Option(help="Steps between checkpoints.")]
NEnvs = Annotated[int | None, typer.Option(help="Environments side by side; default: the approach's own.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes; default: one a core.")]
Name = Annotated[str | None, typer.Option(help="The run's name in MLflow.")]
Experiment = Annotated[str | None, typer.Option(help="MLflow experiment; default: the environment id.")]
TrackingUri = Annotated[str | None, typer.Option(help="MLflow tracking address; default: MLFLOW_TRACKING_URI.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object as the last line of standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Episodes = Annotated[int, typer.Option(help="Evaluation episodes of each checkpoint.")]
EvalSeed = Annotated[int, typer.Option("--seed", help="Seed of the evaluation episodes.")]
Checkpoint = Annotated[int | None, typer.Option(help="Step of the checkpoint; default: the last one.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="The likeliest actions instead of sampled ones.")]


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


def evaluation(episodes: int, seed: int, deterministic: bool) -> EvaluationSettings:
    from tasks.arcade.inputs.forms import EvaluationSettings

    return EvaluationSettings(episodes=episodes, seed=seed, deterministic=deterministic)


def writable(path: Path, what: str) -> Path:
    """A path at which a file can be made."""
    with checking():
        possible = path.parent.is_dir() and not path.is_dir()
    if not possible:
        raise BadInputError(f"{path} cannot be {what}: name a file in a folder that is there")
    return path


def numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(f"--{option} takes whole numbers with commas between, like 1,2,3: got {text!r}") from None


def listed(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
