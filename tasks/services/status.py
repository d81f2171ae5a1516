"""Status of ramreel: running and scheduled flow runs, champions, latest reports, read from both servers."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from tasks.arcade.settings.base import Settings
from tasks.execution.endpoints import ServerAddresses, running_servers
from tasks.execution.links import gallery_address, mlflow_url
from tasks.runs.disk_space import full_disk
from tasks.store import REPORT, Champion, ChampionRegistry, Store, without_passwords

_MAX_ENTRIES = 5


class FlowRunInfo(Settings):
    """A flow run that is running or scheduled.

    Attributes:
        worker: name of the worker that executes it; None if it is not running, or is a command's.
        host: name of the machine whose process trains its MLflow run; None if none does.
    """

    flow_run_id: str
    name: str
    state: str
    at: datetime
    worker: str | None = None
    host: str | None = None


class ChampionInfo(Settings):
    """The champion of a game; `dropped` is the cause of a drop in performance, None if there is none."""

    env_id: str
    version: int
    run_id: str
    step: int
    summary: str
    dropped: str | None


class ReportInfo(Settings):
    """A comparison in the store."""

    run_id: str
    name: str
    at: datetime
    page: str


class Status(Settings):
    """Status of servers, flow runs, champions and reports.

    Attributes:
        gallery: URL of the gallery; None if `ramreel up` is not running.
        prefect: URL of Prefect's server, that of `PREFECT_API_URL` or of `ramreel up`; None if there is none.
        prefect_error: why Prefect's server cannot be used; None if it can, or there is none.
        mlflow: URL of MLflow's server or database, without a password; None if the store is an embedded file.
        disk_error: that the disk of an embedded store is full; None if it is not.
        workers: number of online workers.
        waiting: flow runs that have been due for a minute while no worker was online.
        running: running flow runs.
        next: next scheduled flow run of each deployment.
        off: schedules that are switched off.
        champions: champions of all games.
        reports: latest reports.
    """

    gallery: str | None = None
    prefect: str | None
    prefect_error: str | None = None
    mlflow: str | None
    disk_error: str | None = None
    workers: int = 0
    waiting: int = 0
    running: tuple[FlowRunInfo, ...] = ()
    next: tuple[FlowRunInfo, ...] = ()
    off: tuple[str, ...] = ()
    champions: tuple[ChampionInfo, ...] = ()
    reports: tuple[ReportInfo, ...] = ()


def status(store: Store) -> Status:
    """Return the status from both servers, or from the store alone if `ramreel up` is not running.

    Raises:
        StoreError: the store cannot be read.
    """
    servers = running_servers(store.address)
    api = _api(servers)
    elsewhere = None if store.address.database else store.address.redacted_uri
    stored = Status(
        gallery=gallery_address(store),
        prefect=without_passwords(api).rstrip("/").removesuffix("/api") if api else None,
        mlflow=servers.mlflow if servers else elsewhere,
        disk_error=full_disk(store) or None,
        champions=tuple(map(_champion_info, ChampionRegistry(store.address).champions())),
        reports=_latest_reports(store),
    )
    if api is None:
        return stored
    # Imported here: without a server, the status is printed before Prefect would be imported.
    from tasks.services.flow_runs import flow_run_status

    return stored.model_copy(update=flow_run_status(api, store))


def find_prefect_api(store: Store) -> str | None:
    """Return the URL of the API of `PREFECT_API_URL` or of a running `ramreel up`; None if there is no server."""
    return _api(running_servers(store.address))


def _api(servers: ServerAddresses | None) -> str | None:
    return os.environ.get("PREFECT_API_URL") or (servers.api if servers else None)


def _champion_info(champion: Champion) -> ChampionInfo:
    return ChampionInfo(
        env_id=champion.env_id,
        version=champion.version,
        run_id=champion.run_id,
        step=champion.step,
        summary=champion.description,
        dropped=champion.drop_cause,
    )


def _latest_reports(store: Store) -> tuple[ReportInfo, ...]:
    found = store.runs_with({"ramreel.kind": "comparison"}, status="FINISHED", limit=_MAX_ENTRIES)
    return tuple(
        ReportInfo(
            run_id=run.run_id,
            name=run.name,
            at=datetime.fromtimestamp(run.start_ms / 1000, UTC),
            page=mlflow_url(store, run.run_id, REPORT),
        )
        for run in store.iter_runs(found)
    )
