"""`ramreel worker`: a machine joins a server, once it has proved that it fits."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from prefect import __version__ as prefect_version
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.execution.endpoints import is_healthy
from tasks.execution.provenance import versions
from tasks.services.deployments import QUEUES
from tasks.services.errors import ServiceConfigurationError
from tasks.services.prefect_server import check_prefect_server
from tasks.services.server_record import IncompatibleServerError, read_record
from tasks.services.workers import WorkerSetup, keep_workers_running, worker_environment
from tasks.store import open_store, without_passwords

_MAX_CLOCK_DIFFERENCE = timedelta(seconds=10)
"""Leases, heartbeats and schedules compare times of different machines; a lease is stale after 60 seconds."""
_RETRY_SECONDS = 5
_ANSWER_SECONDS = 10


class JoinError(ServiceConfigurationError):
    """A machine cannot join a server; the message is one line."""


def find_setup(api: str, pool: str, limit: int) -> WorkerSetup:
    """Return the workers of this machine at a Prefect server, after checking that the machine fits.

    Args:
        api: URL of Prefect's API.
        pool: work pool.
        limit: flow runs of each queue at a time.

    Raises:
        ServiceConfigurationError, StoreError: a server does not respond or refuses the credentials, this machine has
            other versions, ROMs or another time, or the pool does not exist.
    """
    check_prefect_server(api)
    server = urlsplit(api).netloc
    record = read_record(api, server)
    record.check(server)
    _check_clock(api, server)
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or record.mlflow_at(api)
    if not tracking_uri:
        raise JoinError(f"{server} does not know where MLflow is: set MLFLOW_TRACKING_URI")
    store = open_store(tracking_uri)
    if version := store.server_version():
        _check_version(f"the MLflow server at {store.address.redacted_uri}", version, versions()["mlflow"])
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        _check_version(f"the Prefect server {server}", client.api_version(), prefect_version)
        limits = {queue: max(limit, QUEUES.get(queue, 1)) for queue in _queues(client, pool, server)}
    return WorkerSetup(pool, limits, worker_environment(api, tracking_uri))


def join(setup: WorkerSetup, log: Callable[[str], None]) -> None:
    """Run the workers of this machine until Ctrl-C; if the server is away for a while, wait for it.

    Raises:
        ServerError: a worker did not start.
    """
    api = setup.environment["PREFECT_API_URL"]
    log(f"Prefect: {api.removesuffix('/api')}")
    log(f"MLflow: {without_passwords(setup.environment['MLFLOW_TRACKING_URI'])}")
    limits = ", ".join(f"{queue} ({limit} at a time)" for queue, limit in setup.limits.items())
    log(f"Workers of pool {setup.pool}: {limits}")
    log("Press Ctrl-C to stop.")

    def wait_for_server() -> bool:
        if is_healthy(f"{api}/health"):
            return False
        log("Prefect's server does not respond; waiting for it.")
        while not is_healthy(f"{api}/health"):
            time.sleep(_RETRY_SECONDS)
        return True

    keep_workers_running(setup, wait_for_server=wait_for_server, log=log)


def _check_clock(api: str, server: str) -> None:
    before = datetime.now(UTC)
    response = httpx.get(f"{api}/health", timeout=_ANSWER_SECONDS)
    after = datetime.now(UTC)
    if (date := response.headers.get("Date")) is None:
        return
    there = parsedate_to_datetime(date)
    # The date of a response has whole seconds.
    ahead, behind = before - there - timedelta(seconds=1), there - after
    if (difference := max(ahead, behind)) > _MAX_CLOCK_DIFFERENCE:
        direction = "ahead of" if ahead > behind else "behind"
        raise IncompatibleServerError(
            f"the clock of this machine is {difference.total_seconds():.0f} s {direction} that of {server}: "
            "synchronize both, for instance with chrony"
        )


def _check_version(server: str, theirs: str, mine: str) -> None:
    if _major_minor(theirs) < _major_minor(mine):
        raise IncompatibleServerError(f"{server} has version {theirs}, older than this machine's {mine}: upgrade it")


def _major_minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _queues(client: SyncPrefectClient, pool: str, server: str) -> tuple[str, ...]:
    """Return the work queues of a pool, without Prefect's own default one where there are others."""
    try:
        if (kind := client.read_work_pool(pool).type) != "process":
            raise JoinError(
                f"work pool {pool!r} of {server} is of type {kind}, not process: choose another with --pool"
            )
    except ObjectNotFound:
        others = ", ".join(one.name for one in client.read_work_pools()) or "none"
        raise JoinError(
            f"no work pool {pool!r} at {server}: choose another with --pool (available: {others})"
        ) from None
    names = tuple(queue.name for queue in client.read_work_queues(work_pool_name=pool))
    return tuple(name for name in names if name != "default") or names
