"""Backends, passwords and addresses of `ramreel up` are checked first; what does not fit is one line, exit code 2."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from helpers.backends import BUCKET, PASSWORD, TestBackends, backends
from helpers.processes import error_lines
from helpers.servers import free_port
from redis.asyncio import ConnectionPool

from flows.cli.app import run
from tasks.services.backends import find_backends

UNUSED = "redis://127.0.0.1:9"
EVERYWHERE = "0.0.0.0"  # noqa: S104


def up(**others: str) -> list[str]:
    """Return a command with valid options, apart from some."""
    valid = {"database": "postgresql://lab@127.0.0.1:9/ram", "redis": UNUSED, "artifacts": "s3://nowhere/at/all"}
    return ["up", *(f"--{name}={value}" for name, value in (valid | others).items())]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBackends]:
    with backends(tmp_path_factory.mktemp("backends")) as found:
        yield found


@pytest.fixture(scope="module")
def database(real: TestBackends) -> str:
    return real.database("backends")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Forget the developer's servers, and afterward what the command has set."""
    prefixes = ("PREFECT_", "MLFLOW_", "RAMREEL_", "AWS_")
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path / "home"))
    before = set(os.environ)
    yield
    for name in set(os.environ) - before:
        del os.environ[name]


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Assert that a command is refused in one line without a password, and return the line."""
    assert run(arguments) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert len(error_lines(errors)) == 1, errors
    assert PASSWORD not in errors
    return errors


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["up", "--redis", UNUSED], "--database and --artifacts are missing"),
        (["up", "--database", "postgresql://lab@127.0.0.1/ram", "--redis", UNUSED], "--artifacts is missing"),
        (up(database="nonsense"), "not the URI of a PostgreSQL database: use one such as postgresql+psycopg2://"),
        (up(database="mysql://lab@127.0.0.1/ram"), "'mysql://lab@127.0.0.1/ram' is not the URI of a PostgreSQL"),
        (up(database="postgresql://lab@127.0.0.1"), "is not the URI of a PostgreSQL database"),
        (up(database="postgresql://lab@127.0.0.1/ram?sslmode=require"), "no options, got sslmode: set variables"),
        (up(database=f"postgresql://lab:{PASSWORD}@127.0.0.1/ram"), "--database must not hold a password"),
        (up(database="postgresql://lab@127.0.0.1:9/ram"), "cannot use the database postgresql+psycopg2://lab@127.0.0.1:9/ram"),
        (["up", "--redis", f"redis://:{PASSWORD}@127.0.0.1"], "set RAMREEL_REDIS instead"),
        (up(redis="http://127.0.0.1"), "'http://127.0.0.1' is not the URL of a Redis server"),
        (up(artifacts="bucket"), "use s3://bucket/path, or the absolute path of a folder"),
        (["up", "--host", EVERYWHERE], "set PREFECT_SERVER_API_AUTH_STRING and MLFLOW_AUTH_ADMIN_PASSWORD, or say"),
        (["up", "--host", "no such host"], "--host 'no such host' is not an address of this machine"),
        (["up", "--host", "192.0.2.1", "--insecure"], "192.0.2.1 is not an address of this machine"),
        (["up", "--prefect-port", "0"], "--prefect-port"),
    ],
)  # fmt: skip
def test_invalid_input_of_up_is_refused(arguments: list[str], hint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert hint in refused(arguments, capfd)


def test_one_password_is_not_enough(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", PASSWORD)
    assert "set MLFLOW_AUTH_ADMIN_PASSWORD, or say" in refused(["up", "--host", EVERYWHERE], capfd)
    monkeypatch.setenv("MLFLOW_AUTH_ADMIN_PASSWORD", PASSWORD)
    assert "must be a user and a password, separated by a colon" in refused(["up", "--host", EVERYWHERE], capfd)


def test_unusable_backends_are_refused_before_anything_starts(
    real: TestBackends, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in real.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAMREEL_DATABASE", database.replace(PASSWORD, "wrong"))
    ports = [f"--{server}-port={free_port()}" for server in ("prefect", "mlflow", "gallery")]

    def started(**others: str) -> str:
        given = {"redis": real.redis, "artifacts": f"s3://{BUCKET}/path"} | others
        return refused(["up", *ports, *(f"--{name}={value}" for name, value in given.items())], capfd)

    assert "password authentication failed" in started()

    monkeypatch.setenv("RAMREEL_DATABASE", database.replace("/backends", "/nowhere"))
    assert 'database "nowhere" does not exist' in started()

    monkeypatch.setenv("RAMREEL_DATABASE", database)
    assert "cannot use the Redis server redis://127.0.0.1:9" in started(redis=UNUSED)
    assert "cannot use the bucket 'elsewhere' of --artifacts" in started(artifacts="s3://elsewhere")
    assert "cannot use the folder /proc/1" in started(artifacts="/proc/1")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports[1] = f"--mlflow-port={port}"
        assert f"port {port} is in use" in started()
    ports[1] = f"--mlflow-port={free_port()}"
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert "missing packages: boto3; install them with pip install 'ramreel[cluster]'" in started()

    engine = sqlalchemy.create_engine(database)
    assert set(sqlalchemy.inspect(engine).get_schema_names()) == {"public", "information_schema"}
    engine.dispose()


@pytest.mark.parametrize(("query", "interval"), [("", 10), ("?health_check_interval=3&socket_timeout=9", 3)])
def test_connections_to_redis_are_checked_while_they_are_idle(real: TestBackends, query: str, interval: int) -> None:
    given = {"database": "postgresql://lab@127.0.0.1/ram", "redis": real.redis + query, "artifacts": "/artifacts"}
    found = find_backends(given)
    assert found is not None
    options = ConnectionPool.from_url(found.prefect_environment["PREFECT_SERVER_DOCKET_URL"]).connection_kwargs
    assert options["health_check_interval"] == interval
    assert (options["db"], options.get("socket_timeout")) == (2, 9 if query else None)


def test_user_who_may_not_create_schemas_is_refused(
    real: TestBackends, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAMREEL_DATABASE", database.replace("/backends", "/postgres"))
    arguments = ["up", "--redis", real.redis, "--artifacts", f"s3://{BUCKET}/path"]
    assert "may not create schemas: GRANT CREATE ON DATABASE postgres TO lab" in refused(arguments, capfd)


def test_second_up_on_one_database_is_refused(
    real: TestBackends, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in real.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAMREEL_DATABASE", database)
    given = {"redis": real.redis, "artifacts": f"s3://{BUCKET}/path"}
    found = find_backends(given)
    assert found is not None
    ports = [f"--{server}-port={free_port()}" for server in ("prefect", "mlflow", "gallery")]
    arguments = ["up", *ports, *(f"--{name}={value}" for name, value in given.items())]
    with found.database.locked() as lock:
        errors = refused(arguments, capfd)
        assert "`ramreel up` is already running on postgresql+psycopg2://lab@127.0.0.1" in errors
        assert f"on {socket.gethostname()}: stop it first" in errors

        end_connections(real)
        lock.renew()
        assert "already running" in refused(arguments, capfd)


def end_connections(real: TestBackends) -> None:
    """End all connections to the database, as a restart of PostgreSQL does."""
    engine = sqlalchemy.create_engine(real.admin, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            sqlalchemy.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'backends'")
        )
    engine.dispose()
