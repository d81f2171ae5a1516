"""What is declared in deployments/ is real: entry points, parameters, forms, triggers; and is registered once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Pending, Running, Scheduled
from prefect.utilities.callables import parameter_schema
from prefect.variables import Variable

from tasks.arcade.settings.approaches import APPROACHES
from tasks.execution import events
from tasks.services import deployments as deploy

FOLDER = Path(__file__).parents[2] / "deployments"
DECLARED: list[dict[str, Any]] = yaml.safe_load((FOLDER / "prefect.yaml").read_text("utf-8"))["deployments"]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "automations.yaml").read_text("utf-8"))["automations"]
EVENTS = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}


def flow_of(declared: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(declared["entrypoint"], use_placeholder_flow=False)


def fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every field of a form, those of nested settings as well."""
    return {
        f"{model}.{name}": field
        for model, definition in schema["definitions"].items()
        for name, field in definition.get("properties", {}).items()
    }


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_an_entry_point_is_a_module_and_takes_its_parameters(declared: dict[str, Any]) -> None:
    assert ".py" not in declared["entrypoint"]
    assert ":" not in declared["entrypoint"]
    flow = flow_of(declared)
    validated = flow.validate_parameters(declared["parameters"])
    assert validated["settings"].title, "the flow run has a telling name"
    assert declared["description"]
    assert declared["tags"] == [deploy.TAG]
    assert declared["work_pool"]["name"] == deploy.POOL
    assert declared["work_pool"]["work_queue_name"] in deploy.QUEUES


def test_the_flows_that_are_asked_for_are_there() -> None:
    assert {"train", "record", "compare", "pipeline", "guard"} <= {one["name"] for one in DECLARED}


def test_schedules_are_there_and_off() -> None:
    schedules = {one["name"]: one["schedules"] for one in DECLARED if one["schedules"]}
    assert schedules.keys() == {"pipeline", "guard"}
    assert all(schedule["active"] is False for every in schedules.values() for schedule in every)


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_a_form_says_what_each_field_means(declared: dict[str, Any]) -> None:
    schema = parameter_schema(flow_of(declared)).model_dump()
    described = {name: field.get("description") for name, field in fields(schema).items() if "$ref" not in field}
    assert not [name for name, words in described.items() if not words]


def test_a_form_offers_games_and_approaches() -> None:
    train = next(one for one in DECLARED if one["name"] == "train")
    form = fields(parameter_schema(flow_of(train)).model_dump())
    games, anything = form["TrainSettings.env_id"]["anyOf"]
    assert "ALE/Pong-v5" in games["enum"]
    assert anything == {"title": "any id", "type": "string"}
    named, own = form["TrainSettings.approach"]["anyOf"]
    assert named["enum"] == list(APPROACHES)
    assert own["$ref"].endswith("/ApproachSettings"), "or one of one's own"
    assert form["TrainSettings.steps"]["minimum"] == 1


def test_triggers_wait_for_events_that_there_are() -> None:
    expected = [event for one in DECLARED for trigger in one.get("triggers", ()) for event in trigger["expect"]]
    assert sorted(expected) == [events.CHECKPOINT_SAVED, events.PERFORMANCE_DROPPED, events.TRAINING_FINISHED]
    assert set(expected) < EVENTS
    page = (FOLDER.parent / "docs/unattended.md").read_text("utf-8")
    assert [event for event in EVENTS if f"`{event}`" not in page] == []


@pytest.mark.parametrize("declared", AUTOMATIONS, ids=lambda one: one["name"])
def test_an_automation_is_one(declared: dict[str, Any]) -> None:
    assert AutomationCore.model_validate(declared).name.startswith("ramreel: ")


def schedules(client: SyncPrefectClient) -> dict[str, bool]:
    return {name: one.schedules[0].active for name, one in deploy.deployments(client).items() if one.schedules}


def by_name(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    return deploy.deployments(client)


def test_registering_twice_is_as_good_as_once_and_a_persons_switches_stay(prefect_server: None) -> None:
    api = PREFECT_API_URL.value()
    assert api
    assert deploy.register(api) is True
    with get_client(sync_client=True) as client:
        first = by_name(client)
        assert first.keys() == {one["name"] for one in DECLARED}
        assert schedules(client) == {"pipeline": False, "guard": False}
        automations = client.read_automations()
        triggers = sum(len(one.get("triggers", ())) for one in DECLARED)
        assert len(automations) == len(AUTOMATIONS) + triggers

        guard = first["guard"]
        client.update_deployment_schedule(guard.id, guard.schedules[0].id, active=True)
        queue = client.read_work_queue_by_name("looking", work_pool_name=deploy.POOL)
        client.update_work_queue(queue.id, concurrency_limit=3)
        off = {AUTOMATIONS[-1]["name"], "ramreel: video each checkpoint"}
        for one in automations:
            if one.name in off:
                client.pause_automation(one.id)

        assert deploy.register(api) is False, "nothing is new"
        assert {name: one.updated for name, one in by_name(client).items() if name != "guard"} == {
            name: one.updated for name, one in first.items() if name != "guard"
        }

        # As after an update of ramreel.
        Variable.set("ramreel_deployments", "another", overwrite=True)
        assert deploy.register(api) is True
        assert {name: one.id for name, one in by_name(client).items()} == {name: one.id for name, one in first.items()}
        assert schedules(client) == {"pipeline": False, "guard": True}
        assert client.read_work_queue_by_name("looking", work_pool_name=deploy.POOL).concurrency_limit == 3
        again = client.read_automations()
        assert sorted(one.name for one in again) == sorted(one.name for one in automations), "none is there twice"
        assert {one.name for one in again if not one.enabled} == off


# Dies where the deployments are registered, and a person's switches are not set again.
KILLED = """
import os, signal, sys
from tasks import deploy

def deploy_and_die(api_url, registered=deploy._deploy):
    registered(api_url)
    os.kill(os.getpid(), signal.SIGKILL)

deploy._deploy = deploy_and_die
deploy.register(sys.argv[1])
"""


def test_a_persons_switches_outlive_a_kill_while_deployments_are_registered(prefect_server: None) -> None:
    api = PREFECT_API_URL.value()
    assert api
    deploy.register(api)
    with get_client(sync_client=True) as client:
        guard = by_name(client)["guard"]
        client.update_deployment_schedule(guard.id, guard.schedules[0].id, active=True)
        (follow_up,) = client.read_automations_by_name("ramreel: follow up each training")
        client.pause_automation(follow_up.id)
        for _ in range(2):
            Variable.set("ramreel_deployments", "another", overwrite=True)
            killed = subprocess.run([sys.executable, "-c", KILLED, api], cwd=FOLDER.parent, check=False)
            assert killed.returncode == -signal.SIGKILL
        assert not schedules(client)["guard"], "they are off, and on, as the files have them"
        assert deploy.register(api) is True
        assert schedules(client)["guard"]
        (follow_up,) = client.read_automations_by_name(follow_up.name)
        assert not follow_up.enabled

        # What was kept for that is not kept for later.
        client.resume_automation(follow_up.id)
        Variable.set("ramreel_deployments", "another", overwrite=True)
        assert deploy.register(api) is True
        assert client.read_automations_by_name(follow_up.name)[0].enabled


def test_what_a_killed_worker_had_taken_starts_again_and_nothing_else(prefect_server: None) -> None:
    api = PREFECT_API_URL.value()
    assert api
    deploy.register(api)
    with get_client(sync_client=True) as client:
        guard = by_name(client)["guard"]
        states = (Scheduled(), Pending(), Pending(name="Submitting"), Running(), Completed())
        ours = [client.create_flow_run_from_deployment(guard.id) for _ in states]
        elsewhere = client.create_flow_run(flow_of(DECLARED[0]), state=Running())
        for run, state in zip(ours, states, strict=True):
            client.set_flow_run_state(run.id, state, force=True)
        assert deploy.restart_interrupted_runs(api) == 3
        names = [client.read_flow_run(run.id).state_name for run in (*ours, elsewhere)]
        assert names == ["Scheduled", "AwaitingRetry", "AwaitingRetry", "AwaitingRetry", "Completed", "Running"]
        assert deploy.restart_interrupted_runs(api) == 0
