"""Deployments, work pool and automations at a Prefect server, through its public API and command line."""

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
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import AwaitingRetry
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import Settings
from tasks.services.orphans import end_killed

POOL = "ramreel"
TAG = "ramreel"
QUEUES = ("training", "looking")
"""Each runs one thing at a time: a training uses all cores, and so does whatever plays a checkpoint."""
_LAST_WORDS = timedelta(seconds=20)
"""For which a process that is told to end may still say how it ended; that would end its second start."""
_ROOT = Path(__file__).parents[1]
_FOLDER = _ROOT / "deployments"
_REGISTERED = "ramreel_deployments"
_SWITCHES = "ramreel_switches"
"""Variables at Prefect's server. This one is there while deployments are registered, for whoever comes after a kill."""


class DeployError(RamreelError):
    """Prefect did not take what was to be registered; the message is one line."""


def register(api_url: str) -> bool:
    """Register everything in deployments/ that this Prefect server does not have yet; twice is as good as once.

    What a person changed in Prefect's UI stays: a schedule that is switched on, a queue's limit, an automation that is
    switched off, that of a deployment's trigger too.

    Returns:
        Whether anything was registered.

    Raises:
        DeployError: Prefect refused something.
    """
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        digest, before = _digest(), deployments(client)
        if Variable.get(_REGISTERED) == digest and _names() <= before.keys():
            return False
        _create_pool(client)
        switches = _switches(client, before)
        Variable.set(_SWITCHES, switches.model_dump(mode="json"), overwrite=True)
        _deploy(api_url)
        _set_again(client, switches)
        _create_automations(client)
        Variable.unset(_SWITCHES)
        Variable.set(_REGISTERED, digest, overwrite=True)
    return True


def start_again(api_url: str) -> int:
    """Have whatever the pool's last worker had taken start again, while there is no worker; how many flow runs that is.

    Without that they hold their places in the queues until their missing heartbeats are noticed, and Prefect lets
    automations hear of what it cannot order, as after a restart of its server, a quarter of an hour late. If a process
    lives after all, its run's lease keeps the two apart. What killed commands have left behind ends, too.
    """
    taken = {"state": {"type": {"any_": [StateType.PENDING, StateType.RUNNING]}}}
    with temporary_settings({PREFECT_API_URL: api_url}), get_client(sync_client=True) as client:
        end_killed(client)
        found = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(taken),
            work_pool_filter=WorkPoolFilter.model_validate({"name": {"any_": [POOL]}}),
        )
        for run in found:
            again: State[None] = AwaitingRetry(
                scheduled_time=datetime.now(UTC) + _LAST_WORDS,
                message="Started again: its process ended with its worker.",
            )
            client.set_flow_run_state(run.id, again, force=True)
    return len(found)


def deployments(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """What is registered, by name."""
    return {deployment.name: deployment for deployment in client.read_deployments() if TAG in deployment.tags}


def _digest() -> str:
    """Of all that decides what a deployment is: the forms of its parameters are made from the code."""
    code = (path for room in ("flows", "tasks") for path in (_ROOT / room).rglob("*.py"))
    files = sorted([*_FOLDER.glob("*.yaml"), *code])
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def _read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((_FOLDER / name).read_text("utf-8")))


def _names() -> set[str]:
    return {str(deployment["name"]) for deployment in _read("prefect.yaml")["deployments"]}


def _create_pool(client: SyncPrefectClient) -> None:
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
    for name in QUEUES:
        with suppress(ObjectAlreadyExists):
            client.create_work_queue(name=name, concurrency_limit=1, work_pool_name=POOL)


def _deploy(api_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", _FOLDER / "prefect.yaml"],
        cwd=_ROOT,
        env=os.environ | {"PREFECT_API_URL": api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(f"{done.stdout} {done.stderr}".split())
        raise DeployError(f"the deployments could not be registered: {said[-400:]}")


class _Switches(Settings):
    """What a person switched otherwise than the files have it.

    Attributes:
        on: schedules that are on, each as its deployment's name and its slug.
        off: automations of deployments that are off, by name.
    """

    on: tuple[tuple[str, str | None], ...]
    off: tuple[str, ...]


def _switches(client: SyncPrefectClient, before: Mapping[str, DeploymentResponse]) -> _Switches:
    """As they are now, or as they were before a registration that was killed under way."""
    if kept := Variable.get(_SWITCHES):
        return _Switches.model_validate(kept)
    triggers = (trigger["name"] for one in _read("prefect.yaml")["deployments"] for trigger in one.get("triggers", ()))
    return _Switches(
        on=tuple((name, one.slug) for name, deployment in before.items() for one in deployment.schedules if one.active),
        off=tuple(name for name in triggers if any(not one.enabled for one in client.read_automations_by_name(name))),
    )


def _set_again(client: SyncPrefectClient, switches: _Switches) -> None:
    """Registering again switches all as the files have it; a person's switch counts for more."""
    for name, deployment in deployments(client).items():
        for schedule in deployment.schedules:
            if (name, schedule.slug) in switches.on and not schedule.active:
                client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    for name in switches.off:
        for automation in client.read_automations_by_name(name):
            client.pause_automation(automation.id)


def _create_automations(client: SyncPrefectClient) -> None:
    for fields in _read("automations.yaml")["automations"]:
        wanted = AutomationCore.model_validate(fields)
        there = client.read_automations_by_name(wanted.name)
        for one in there:
            client.update_automation(one.id, wanted.model_copy(update={"enabled": one.enabled}))
        if not there:
            client.create_automation(wanted)
