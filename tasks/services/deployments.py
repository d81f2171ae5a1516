"""Registration of deployments, work pool and automations at a Prefect server."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import Settings
from tasks.services.orphans import AUTOMATED_TAG, mark_killed_runs_crashed

POOL = "ramreel"
TAG = AUTOMATED_TAG
QUEUES = {"training": 1, "evaluation": 1, "coordination": 10}
"""Work queues, and the number of flow runs that the worker of a machine for each executes at the same time.

Flow runs that wait for others have a queue of their own, or they would wait for a slot that they occupy.
"""
WORKER_LABEL = "prefect.worker.name"
"""Label of a flow run with the name of the worker that executes it."""
_QUEUE_DESCRIPTION = "Without a concurrency limit, which would be that of all machines: each worker has its own."
_RESTART_DELAY = timedelta(seconds=20)
"""Time for a terminated process to report its end, which would otherwise end the restarted flow run."""
_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "deployments"
_RETENTION = "prune"
_DIGEST_VARIABLE = "ramreel_deployments"
_OVERRIDES_VARIABLE = "ramreel_switches"
"""Prefect variable that exists during a registration: the next one restores the user's overrides after a kill."""
_FORMER_NAMES = {
    "ramreel: record each checkpoint": "ramreel: film each checkpoint",
    "ramreel: follow up each training run": "ramreel: follow up each training",
    "ramreel: retrain after a performance drop": "ramreel: train again where play gets worse",
    "ramreel: detect flow runs whose process was killed": "ramreel: notice a run whose process was killed",
    "ramreel: detect flow runs that never started": "ramreel: notice a run whose process never began",
    "ramreel: restart crashed flow runs": "ramreel: start a crashed run again",
}
"""Names of automations and the names that version 0.1 registered them under."""


class DeploymentError(RamreelError):
    """Prefect rejected a registration; the message is one line."""


class Registration(Settings):
    """What is registered at a Prefect server.

    Attributes:
        changed: whether this registration created or updated anything.
        work_pool: name of the work pool.
        work_queues: names of its queues.
        deployments: names of the deployments.
        automations: names of the automations, those of the deployments' triggers included.
    """

    changed: bool
    work_pool: str = POOL
    work_queues: tuple[str, ...] = tuple(QUEUES)
    deployments: tuple[str, ...]
    automations: tuple[str, ...]


def register(api_url: str) -> Registration:
    """Register the contents of deployments/ at a Prefect server, unless they are registered and unchanged.

    Creates or updates by name. What a user changed in Prefect's UI stays: switched schedules, concurrency limits of
    queues, disabled automations (including those of deployment triggers), the retention.

    Raises:
        DeploymentError: Prefect rejected a registration.
    """
    declared, automations = _declared_names(), (*_trigger_names(), *_automation_names())
    unchanged = Registration(changed=False, deployments=tuple(declared), automations=automations)
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        digest, before = _digest(), deployments(client)
        complete = set(declared) <= before.keys() and all(len(_automations(client, name)) == 1 for name in automations)
        if Variable.get(_DIGEST_VARIABLE) == digest and complete:
            return unchanged
        _create_pool(client)
        overrides = _user_overrides(client, before)
        Variable.set(_OVERRIDES_VARIABLE, overrides.model_dump(mode="json"), overwrite=True)
        _deploy(api_url)
        _restore_overrides(client, overrides)
        _create_automations(client)
        Variable.unset(_OVERRIDES_VARIABLE)
        Variable.set(_DIGEST_VARIABLE, digest, overwrite=True)
    return unchanged.model_copy(update={"changed": True})


def restart_interrupted_runs(api_url: str, queue: str, worker: str | None = None) -> int:
    """Start the flow runs again that a queue's last worker was executing; call it while it has no worker.

    Otherwise they seem to run until Prefect notices the missing heartbeats, which takes a quarter of an hour
    after a restart of its server. If a process is still alive, the lease on its run keeps the two apart. Also ends the
    flow runs of killed commands.

    Args:
        api_url: URL of Prefect's API.
        queue: work queue.
        worker: name of the worker, where other machines have workers for the queue too.

    Returns:
        The number of flow runs.
    """
    interrupted = {"state": {"type": {"any_": [StateType.PENDING, StateType.RUNNING]}}}
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        mark_killed_runs_crashed(client)
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(interrupted),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [POOL]}}),
        )
        runs = [
            run
            for run in found
            if run.work_queue_name == queue and (worker is None or run.labels.get(WORKER_LABEL) == worker)
        ]
        for run in runs:
            retry: State[None] = AwaitingRetry(
                scheduled_time=datetime.now(UTC) + _RESTART_DELAY,
                message="Restarted because its process ended with the worker.",
            )
            client.set_flow_run_state(run.id, retry, force=True)
    return len(runs)


def deployments(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Return the registered deployments by name."""
    return {deployment.name: deployment for deployment in client.read_deployments() if TAG in deployment.tags}


def _digest() -> str:
    """Return the digest of everything that defines a deployment; parameter schemas are derived from the code."""
    code = (path for room in ("flows", "tasks") for path in (_ROOT / room).rglob("*.py"))
    files = sorted([*_FOLDER.glob("*.yaml"), *code])
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((_FOLDER / name).read_text("utf-8")))


def _declared_names() -> tuple[str, ...]:
    return tuple(str(deployment["name"]) for deployment in _read("prefect.yaml")["deployments"])


def _trigger_names() -> tuple[str, ...]:
    return tuple(
        str(trigger["name"]) for one in _read("prefect.yaml")["deployments"] for trigger in one.get("triggers", ())
    )


def _automation_names() -> tuple[str, ...]:
    return tuple(str(fields["name"]) for fields in _read("automations.yaml")["automations"])


def _create_pool(client: SyncPrefectClient) -> None:
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    for name in QUEUES:
        try:
            client.create_work_queue(name=name, description=_QUEUE_DESCRIPTION, work_pool_name=POOL)
        except ObjectAlreadyExists:
            queue = client.read_work_queue_by_name(name, work_pool_name=POOL)
            if queue.description != _QUEUE_DESCRIPTION:
                # `ramreel up` of former versions limited its queues to one flow run; other limits are a user's.
                limit = None if queue.concurrency_limit == 1 else queue.concurrency_limit
                client.update_work_queue(queue.id, description=_QUEUE_DESCRIPTION, concurrency_limit=limit)


def _deploy(api_url: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", _FOLDER / "prefect.yaml"],
        cwd=_ROOT,
        env=os.environ | {"PREFECT_API_URL": api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if completed.returncode:
        output = " ".join(f"{completed.stdout} {completed.stderr}".split())
        raise DeploymentError(f"could not register the deployments: {output[-400:]}")


class _UserOverrides(Settings):
    """What the user changed against the files.

    Attributes:
        on: active schedules, as name of the deployment and slug.
        paused: inactive schedules, likewise.
        retention: parameters of the deployment that deletes what is old.
        off: names of disabled automations of deployments.
    """

    on: tuple[tuple[str, str | None], ...]
    paused: tuple[tuple[str, str | None], ...] = ()
    retention: dict[str, Any] | None = None
    off: tuple[str, ...]


def _user_overrides(client: SyncPrefectClient, before: Mapping[str, DeploymentResponse]) -> _UserOverrides:
    """Return the current overrides, or those saved by a registration that was killed."""
    if saved := Variable.get(_OVERRIDES_VARIABLE):
        return _UserOverrides.model_validate(saved)
    schedules = [(name, one) for name, deployment in before.items() for one in deployment.schedules]
    return _UserOverrides(
        on=tuple((name, one.slug) for name, one in schedules if one.active),
        paused=tuple((name, one.slug) for name, one in schedules if not one.active),
        # An upgrade must not delete what a user's retention keeps.
        retention=before[_RETENTION].parameters if _RETENTION in before else None,
        off=tuple(name for name in _trigger_names() if any(not one.enabled for one in _automations(client, name))),
    )


def _automations(client: SyncPrefectClient, name: str) -> list[Automation]:
    """Return the registered automations of this name, and those of its former name."""
    names = filter(None, (name, _FORMER_NAMES.get(name)))
    return [automation for either in names for automation in client.read_automations_by_name(either)]


def _restore_overrides(client: SyncPrefectClient, overrides: _UserOverrides) -> None:
    """Restore what a registration has reset to the files' values."""
    for name, deployment in deployments(client).items():
        for schedule in deployment.schedules:
            for switched, active in ((overrides.on, True), (overrides.paused, False)):
                if (name, schedule.slug) in switched and schedule.active != active:
                    client.update_deployment_schedule(deployment.id, schedule.id, active=active)
        if name == _RETENTION and overrides.retention is not None:
            client.update_deployment(deployment.id, DeploymentUpdate(parameters=overrides.retention))
    for name in overrides.off:
        for automation in client.read_automations_by_name(name):
            client.pause_automation(automation.id)


def _create_automations(client: SyncPrefectClient) -> None:
    for fields in _read("automations.yaml")["automations"]:
        declared = AutomationCore.model_validate(fields)
        existing = _automations(client, declared.name)
        if not existing:
            client.create_automation(declared)
            continue
        kept, *copies = existing
        client.update_automation(kept.id, declared.model_copy(update={"enabled": kept.enabled}))
        # `prefect automation create` creates another one of the same name each time.
        for one in copies:
            client.delete_automation(one.id)
