"""Status of ramreel: running and scheduled flow runs, champions, latest reports, read from both servers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.arcade.settings.base import Settings
from tasks.execution.endpoints import running_servers
from tasks.execution.links import mlflow_url
from tasks.runs.lookup import ROOT_FLOW_RUN_TAG
from tasks.services.deployments import POOL, WORKER_LABEL, deployments
from tasks.services.prefect_server import PrefectServerError, check_prefect_server
from tasks.store import REPORT, Champion, ChampionRegistry, Store, lease_host, without_passwords

_MAX_ENTRIES = 5
_WORKER_SECONDS = timedelta(seconds=60)
"""Workers send heartbeats every 30 seconds; without one for this time, what is due does not start."""
_ACTIVE_STATES = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


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
        prefect: URL of Prefect's server, that of `PREFECT_API_URL` or of `ramreel up`; None if there is none.
        prefect_error: why Prefect's server cannot be used; None if it can, or there is none.
        mlflow: URL of MLflow's server or database, without a password; None if the store is an embedded file.
        workers: number of online workers.
        waiting: flow runs that have been due for a minute while no worker was online.
        running: running flow runs.
        next: next scheduled flow run of each deployment.
        off: schedules that are switched off.
        champions: champions of all games.
        reports: latest reports.
    """

    prefect: str | None
    prefect_error: str | None = None
    mlflow: str | None
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
    api = os.environ.get("PREFECT_API_URL") or (servers.api if servers else None)
    elsewhere = None if store.address.database else store.address.redacted_uri
    stored = Status(
        prefect=without_passwords(api).rstrip("/").removesuffix("/api") if api else None,
        mlflow=servers.mlflow if servers else elsewhere,
        champions=tuple(map(_champion_info, ChampionRegistry(store.address).champions())),
        reports=_latest_reports(store),
    )
    if api is None:
        return stored
    try:
        check_prefect_server(api)
    except PrefectServerError as error:
        return stored.model_copy(update={"prefect_error": str(error)})
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        return stored.model_copy(update=_prefect_status(client, store))


def _prefect_status(client: SyncPrefectClient, store: Store) -> dict[str, object]:
    running = client.read_flow_runs(flow_run_filter=_in_states(_ACTIVE_STATES), sort=FlowRunSort.START_TIME_ASC)
    scheduled = client.read_flow_runs(
        flow_run_filter=_in_states([StateType.SCHEDULED]), sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=200
    )
    registered = deployments(client)
    names = {deployment.id: name for name, deployment in registered.items()}
    # A schedule has hundreds of scheduled runs: only the first of each deployment is of interest.
    first = {run.deployment_id: run for run in reversed(scheduled)}
    workers = _online_workers(client)
    return {
        "workers": workers,
        "waiting": 0 if workers else sum(_is_late(run) for run in scheduled if run.deployment_id in names),
        "running": tuple(_running_flow_run(run, store) for run in running if not run.parent_task_run_id),
        "next": tuple(
            _flow_run_info(run, names.get(run.deployment_id, run.name) if run.deployment_id else run.name)
            for run in sorted(first.values(), key=lambda run: run.expected_start_time or datetime.now(UTC))[
                :_MAX_ENTRIES
            ]
        ),
        "off": tuple(
            f"{name} {schedule.slug or ''}".strip()
            for name, deployment in registered.items()
            for schedule in deployment.schedules
            if not schedule.active
        ),
    }


def _running_flow_run(run: FlowRun, store: Store) -> FlowRunInfo:
    worker = run.labels.get(WORKER_LABEL)
    holders = (lease_host(found.tags) for found in store.iter_runs(store.runs_tagged(ROOT_FLOW_RUN_TAG, str(run.id))))
    update = {"worker": str(worker) if worker else None, "host": next(filter(None, holders), None)}
    return _flow_run_info(run, run.name).model_copy(update=update)


def _in_states(states: list[StateType]) -> FlowRunFilter:
    return FlowRunFilter.model_validate({"state": {"type": {"any_": states}}})


def _online_workers(client: SyncPrefectClient) -> int:
    try:
        workers = client.read_workers_for_work_pool(POOL)
    except ObjectNotFound:
        return 0
    since = datetime.now(UTC) - _WORKER_SECONDS
    return sum(
        worker.status == WorkerStatus.ONLINE and (worker.last_heartbeat_time or since) >= since for worker in workers
    )


def _is_late(run: FlowRun) -> bool:
    return run.expected_start_time is not None and run.expected_start_time < datetime.now(UTC) - _WORKER_SECONDS


def _flow_run_info(run: FlowRun, name: str) -> FlowRunInfo:
    at = run.start_time or run.expected_start_time or datetime.now(UTC)
    return FlowRunInfo(flow_run_id=str(run.id), name=name, state=run.state_name or "", at=at)


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
