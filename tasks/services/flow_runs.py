"""Running and scheduled flow runs, and online workers, read from a Prefect server for the status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.runs.lookup import ROOT_FLOW_RUN_TAG
from tasks.services.deployments import POOL, WORKER_LABEL, deployments
from tasks.services.prefect_server import PrefectServerError, check_prefect_server
from tasks.services.status import FlowRunInfo
from tasks.store import Store, lease_host

_MAX_ENTRIES = 5
_WORKER_SECONDS = timedelta(seconds=60)
"""Workers send heartbeats every 30 seconds; without one for this time, what is due does not start."""
_ACTIVE_STATES = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def flow_run_status(api: str, store: Store) -> dict[str, object]:
    """Return the fields of `Status` that a Prefect server knows, or `prefect_error` if it cannot be used."""
    try:
        check_prefect_server(api)
    except PrefectServerError as error:
        return {"prefect_error": str(error)}
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        return _read(client, store)


def _read(client: SyncPrefectClient, store: Store) -> dict[str, object]:
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
