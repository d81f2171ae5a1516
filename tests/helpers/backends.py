"""Redis and an S3-compatible server of a test session, on loopback, next to `helpers.postgresql`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

from helpers.postgresql import postgresql_server
from helpers.servers import Server, free_port, running

BUCKET = "ramreel"
USER, PASSWORD = "lab", "correct-horse-battery-staple"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class TestBackends:
    """Addresses of PostgreSQL, Redis and a bucket.

    Attributes:
        admin: URI of the database `postgres`, of a user who may create databases and users.
        redis: URL of the Redis server.
        s3: URL of the S3-compatible server.
    """

    __test__ = False

    admin: str
    redis: str
    s3: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for the artifacts."""
        return {**S3_KEYS, "MLFLOW_S3_ENDPOINT_URL": self.s3}

    def database(self, name: str) -> str:
        """Create a database of its own user with a password, and return its URI."""
        role = f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"
        engine = sqlalchemy.create_engine(self.admin, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            # One user for all databases.
            with suppress(sqlalchemy.exc.ProgrammingError):
                connection.execute(sqlalchemy.text(role))
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} OWNER {USER}"))
        engine.dispose()
        url = sqlalchemy.make_url(self.admin).set(username=USER, password=PASSWORD, database=name)
        return url.render_as_string(hide_password=False)


@contextmanager
def backends(folder: Path) -> Iterator[TestBackends]:
    """Run all three servers; skip the test where one is not installed."""
    with postgresql_server() as admin, redis_server(folder) as redis, s3_server(folder) as s3:
        yield TestBackends(admin, redis, s3.address)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis server and yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed")
    port = free_port()
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """Run an S3-compatible server with an empty bucket."""
    pytest.importorskip("moto", reason="moto is not installed")
    import boto3

    home = folder / "s3"
    home.mkdir()
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with running(Server(command, home, f"http://127.0.0.1:{port}", "/moto-api/data.json")) as server:
        keys = dict(zip(("aws_access_key_id", "aws_secret_access_key", "region_name"), S3_KEYS.values(), strict=True))
        boto3.client("s3", endpoint_url=server.address, **keys).create_bucket(Bucket=BUCKET)
        yield server
