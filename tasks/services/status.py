"""How things are: what runs, what is next, who is champion, the last reports; read from both servers."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.arcade.settings.base import Settings
from tasks.compare import REPORT
from tasks.execution.endpoints import addresses, answers
from tasks.execution.links import link
from tasks.services.deployments import POOL, deployments
from tasks.store import Champion, Registry, Store

_LINES = 5
_UNDER_WAY = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


class Activity(Settings):
    """A flow run that is under way, or to come."""

    flow_run_id: str
    name: str
    state: str
    at: datetime


class KnownChampion(Settings):
    """A champion, in a few words."""

    env_id: str
    version: int
    run_id: str
    step: int
    words: str
    dropped: str | None


class Report(Settings):
    """A comparison that is in the store."""

    run_id: str
    name: str
    at: datetime
    page: str


class Status(Settings):
    """How things are.

    Attributes:
        prefect: address of Prefect's server; none if none is known or it does not answer.
        mlflow: address of MLflow's server; none if the store is read without one.
        workers: of the pool, that are there.
        running: what runs.
        next: what is scheduled.
        off: schedules that are switched off.
        champions: of each game.
        reports: the last ones.
    """

    prefect: str | None
    mlflow: str | None
    workers: int = 0
    running: tuple[Activity, ...] = ()
    next: tuple[Activity, ...] = ()
    off: tuple[str, ...] = ()
    champions: tuple[KnownChampion, ...] = ()
    reports: tuple[Report, ...] = ()


def status(store: Store) -> Status:
    """Ask both servers, or the store alone where there is no `ramreel up`.

    Raises:
        StoreError: the store cannot be read.
    """
    at = addresses(store.address)
    api = os.environ.get("PREFECT_API_URL") or (at.api if at else None)
    known = Status(
        prefect=None,
        mlflow=at.mlflow if at else None,
        champions=tuple(map(_known, Registry(store.address).champions())),
        reports=_reports(store),
    )
    if api is None or not answers(f"{api}/health"):
        return known
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        return known.model_copy(update={"prefect": api.removesuffix("/api"), **_asked(client)})


def _asked(client: SyncPrefectClient) -> dict[str, object]:
    running = client.read_flow_runs(flow_run_filter=_in(_UNDER_WAY), sort=FlowRunSort.START_TIME_ASC)
    coming = client.read_flow_runs(
        flow_run_filter=_in([StateType.SCHEDULED]), sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=200
    )
    registered = deployments(client)
    names = {deployment.id: name for name, deployment in registered.items()}
    # A schedule has hundreds of runs to come; the first of each deployment tells.
    first = {run.deployment_id: run for run in reversed(coming)}
    return {
        "workers": _workers(client),
        "running": tuple(_activity(run, run.name) for run in running if not run.parent_task_run_id),
        "next": tuple(
            _activity(run, names.get(run.deployment_id, run.name) if run.deployment_id else run.name)
            for run in sorted(first.values(), key=lambda run: run.expected_start_time or datetime.now(UTC))[:_LINES]
        ),
        "off": tuple(
            f"{name} {schedule.slug or ''}".strip()
            for name, deployment in registered.items()
            for schedule in deployment.schedules
            if not schedule.active
        ),
    }


def _in(states: list[StateType]) -> FlowRunFilter:
    return FlowRunFilter.model_validate({"state": {"type": {"any_": states}}})


def _workers(client: SyncPrefectClient) -> int:
    try:
        workers = client.read_workers_for_work_pool(POOL)
    except ObjectNotFound:
        return 0
    return sum(worker.status == WorkerStatus.ONLINE for worker in workers)


def _activity(run: FlowRun, name: str) -> Activity:
    at = run.start_time or run.expected_start_time or datetime.now(UTC)
    return Activity(flow_run_id=str(run.id), name=name, state=run.state_name or "", at=at)


def _known(champion: Champion) -> KnownChampion:
    return KnownChampion(
        env_id=champion.env_id,
        version=champion.version,
        run_id=champion.run_id,
        step=champion.step,
        words=champion.words,
        dropped=champion.dropped,
    )


def _reports(store: Store) -> tuple[Report, ...]:
    runs = [store.run(run_id) for run_id in store.runs_tagged("ramreel.kind", "comparison")[:_LINES]]
    return tuple(
        Report(
            run_id=run.run_id,
            name=run.name,
            at=datetime.fromtimestamp(run.start_ms / 1000, UTC),
            page=link(store, run.run_id, REPORT),
        )
        for run in runs
        if run.status == "FINISHED"
    )
