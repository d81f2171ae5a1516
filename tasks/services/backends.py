"""The backends of a server machine: PostgreSQL, Redis and the artifact store, checked before anything starts."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tasks.services.errors import ServiceConfigurationError
from tasks.services.postgresql import PREFECT_SCHEMA, Database, parse_database
from tasks.store import one_line, without_passwords

ENVIRONMENT = {"database": "RAMREEL_DATABASE", "redis": "RAMREEL_REDIS", "artifacts": "RAMREEL_ARTIFACTS"}
"""Backend → the environment variable that may hold its address with a password."""
_S3 = "s3://"
_TIMEOUT_SECONDS = 5
_REDIS_DATABASES = 3
"""Consecutive Redis databases: messaging, cleanup of workers, background tasks."""
_HEALTH_CHECK_SECONDS = 10


class BackendError(ServiceConfigurationError):
    """A backend cannot be used; the message is one line without a password."""


@dataclass(frozen=True)
class Backends:
    """What the servers of a cluster keep their state in.

    Attributes:
        database: PostgreSQL database.
        redis: URL of the Redis server, with the first of three consecutive databases.
        artifacts: URI of a bucket and a path in it, or the absolute path of a folder.
    """

    database: Database
    redis: str = field(repr=False)
    artifacts: str

    def check(self) -> None:
        """Check that all of them can be used, without changing anything.

        Raises:
            ServiceConfigurationError: one cannot.
        """
        check_packages({"prefect_redis": "prefect-redis", **({"boto3": "boto3"} if self._bucket else {})})
        self.database.check()
        _check_redis(self.redis)
        if self._bucket:
            _check_bucket(self._bucket)
        else:
            _check_folder(Path(self.artifacts))

    @property
    def _bucket(self) -> str | None:
        return _bucket_of(self.artifacts)

    @property
    def prefect_environment(self) -> dict[str, str]:
        """Variables that configure Prefect's servers to use them."""
        messaging, cleanup, docket = (_redis_database(self.redis, index) for index in range(_REDIS_DATABASES))
        uri = self.database.uri("postgresql+asyncpg")
        return {
            **self.database.environment,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": uri,
            # The older name of the same setting, which has been set for the embedded database.
            "PREFECT_API_DATABASE_CONNECTION_URL": uri,
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_CONNECT_ARGS_SEARCH_PATH": PREFECT_SCHEMA,
            "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
            "PREFECT_REDIS_MESSAGING_URL": messaging,
            "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": cleanup,
            "PREFECT_SERVER_DOCKET_URL": _with_health_checks(docket),
        }


def find_backends(given: Mapping[str, str | None]) -> Backends | None:
    """Return the backends that options or environment variables name; None if they name none: all is embedded.

    Args:
        given: addresses given as options by the names of `ENVIRONMENT`; None is that of the environment.

    Raises:
        ServiceConfigurationError: only some are named, an address is invalid, or an option holds a password.
    """
    for name, address in given.items():
        if address and urlsplit(address).password:
            raise BackendError(
                f"--{name} must not hold a password, which every user of this machine could read: set "
                f"{ENVIRONMENT[name]} instead"
            )
    named = {name: given.get(name) or os.environ.get(variable) for name, variable in ENVIRONMENT.items()}
    missing = [f"--{name}" for name, address in named.items() if not address]
    if len(missing) == len(named):
        return None
    if missing:
        raise BackendError(
            f"--database, --redis and --artifacts belong together: {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
    check_packages({"psycopg2": "psycopg2-binary", "asyncpg": "asyncpg", "redis": "redis"})
    return Backends(
        parse_database(str(named["database"])), _parse_redis(str(named["redis"])), _parse(str(named["artifacts"]))
    )


def check_packages(modules: Mapping[str, str]) -> None:
    """Check that optional packages are installed.

    Args:
        modules: name of a module → the package that it is in.

    Raises:
        BackendError: one is not.
    """
    if missing := [package for module, package in modules.items() if importlib.util.find_spec(module) is None]:
        raise BackendError(f"missing packages: {', '.join(missing)}; install them with pip install 'ramreel[cluster]'")


def _parse_redis(url: str) -> str:
    parts = urlsplit(url)
    database = parts.path.strip("/") or "0"
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or not database.isdecimal():
        raise BackendError(
            f"{without_passwords(url)!r} is not the URL of a Redis server: use one such as redis://host:6379"
        )
    return urlunsplit(parts._replace(path=f"/{database}"))


def _redis_database(url: str, index: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{int(parts.path.strip('/')) + index}"))


def _with_health_checks(url: str) -> str:
    """Have redis-py check idle connections, unless the URL says how often.

    Otherwise Prefect's servers read a connection that TCP's keepalive has given up in a loop that never waits, until
    they are out of memory: since Python 3.11 the error, ETIMEDOUT, cannot be told from a read that found nothing.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(query=urlencode({"health_check_interval": _HEALTH_CHECK_SECONDS} | query)))


def _parse(artifacts: str) -> str:
    if _bucket_of(artifacts) or Path(artifacts).is_absolute():
        return artifacts.rstrip("/")
    raise BackendError(
        f"{artifacts!r} is not a place for artifacts: use s3://bucket/path, or the absolute path of a folder"
    )


def _bucket_of(artifacts: str) -> str | None:
    """Return the name of the bucket; None if the artifacts are in a folder."""
    return artifacts.removeprefix(_S3).partition("/")[0] if artifacts.startswith(_S3) else None


def _check_redis(url: str) -> None:
    import redis

    for index in range(_REDIS_DATABASES):
        client = redis.Redis.from_url(
            _redis_database(url, index),
            socket_connect_timeout=_TIMEOUT_SECONDS,
            socket_timeout=_TIMEOUT_SECONDS,
        )
        with client:
            _usable(client.ping, f"the Redis server {without_passwords(url)}", redis.RedisError)


def _check_bucket(bucket: str) -> None:
    import boto3
    import botocore.exceptions
    from botocore.config import Config

    config = Config(connect_timeout=_TIMEOUT_SECONDS, read_timeout=_TIMEOUT_SECONDS, retries={"max_attempts": 1})

    def ask() -> object:
        # The address of an S3-compatible server, where MLflow looks for it.
        client = boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"), config=config)
        return client.head_bucket(Bucket=bucket)

    failures = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, ValueError)
    _usable(ask, f"the bucket {bucket!r} of --artifacts", *failures)


def _check_folder(folder: Path) -> None:
    def write() -> None:
        # An unnamed file leaves nothing behind.
        with tempfile.TemporaryFile(dir=folder):
            pass

    _usable(write, f"the folder {folder} of --artifacts", OSError)


def _usable(ask: Callable[[], object], what: str, *failures: type[Exception]) -> None:
    try:
        ask()
    except failures as error:
        raise BackendError(f"cannot use {what}: {one_line(error)}") from None
