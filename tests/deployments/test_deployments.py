"""deployments/ declares valid entry points, parameters, forms and triggers, and is registered once."""

from __future__ import annotations

import os
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
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Pending, Running, Scheduled
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from prefect.variables import Variable

from flows.cli.session import configure_prefect
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.settings.approaches import APPROACHES
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.execution import events
from tasks.execution.crash_loop import MAX_STARTS, CrashLoopError
from tasks.services import deployments as deploy
from tests.conftest import forget_settings

FOLDER = Path(__file__).parents[2] / "deployments"
DECLARED: list[dict[str, Any]] = yaml.safe_load((FOLDER / "prefect.yaml").read_text("utf-8"))["deployments"]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "automations.yaml").read_text("utf-8"))["automations"]
EVENTS = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}


def flow_of(declared: dict[str, Any]) -> Flow[..., Any]:
    return load_flow_from_entrypoint(declared["entrypoint"], use_placeholder_flow=False)


def fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every field of a form, including those of nested settings."""
    return {
        f"{model}.{name}": field
        for model, definition in schema["definitions"].items()
        for name, field in definition.get("properties", {}).items()
    }


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_entry_point_is_a_module_and_accepts_its_parameters(declared: dict[str, Any]) -> None:
    assert ".py" not in declared["entrypoint"]
    assert ":" not in declared["entrypoint"]
    flow = flow_of(declared)
    validated = flow.validate_parameters(declared["parameters"])
    assert validated["settings"].title, "the flow run has a name"
    assert declared["description"]
    assert declared["tags"] == [deploy.TAG]
    assert declared["work_pool"]["name"] == deploy.POOL
    assert declared["work_pool"]["work_queue_name"] in deploy.QUEUES


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_flow_run_that_crashes_each_time_is_not_started_forever(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The automation that restarts crashed flow runs has no limit of its own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__RUN_COUNT", str(MAX_STARTS + 1))
    flow = flow_of(declared)
    with pytest.raises(CrashLoopError, match=f"started {MAX_STARTS} times and crashed each time"):
        flow.fn(flow.validate_parameters(declared["parameters"])["settings"])


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_failed_requests_are_repeated_as_in_commands(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forget_settings(monkeypatch)
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example.org/api")
    configure_prefect()
    environment = declared["work_pool"]["job_variables"]["env"]
    for name in ("PREFECT_CLIENT_MAX_RETRIES", "PREFECT_CLIENT_RETRY_EXTRA_CODES"):
        assert environment[name] == os.environ[name]


def test_required_flows_are_deployed() -> None:
    flows = {"train", "pipeline", "sweep", "learning-benchmark", "record", "reel", "compare", "atlas", "decode"}
    others = {"guard", "follow-up", "retrain", "trial", "resume", "verify", "prune"}
    assert flows | others == {one["name"] for one in DECLARED}


def test_schedules_are_declared_and_only_the_retention_is_active() -> None:
    declared = {one["name"]: [each["active"] for each in one["schedules"]] for one in DECLARED if one["schedules"]}
    assert declared == {"pipeline": [False], "guard": [False], "prune": [True]}


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_every_form_field_has_a_description(declared: dict[str, Any]) -> None:
    schema = parameter_schema(flow_of(declared)).model_dump()
    described = {name: field.get("description") for name, field in fields(schema).items() if "$ref" not in field}
    assert not [name for name, description in described.items() if not description]


def test_form_offers_games_and_approaches() -> None:
    train = next(one for one in DECLARED if one["name"] == "train")
    form = fields(parameter_schema(flow_of(train)).model_dump())
    games, anything = form["TrainSettings.env_id"]["anyOf"]
    assert "ALE/Pong-v5" in games["enum"]
    assert anything == {"title": "any id", "type": "string"}
    named, own = form["TrainSettings.approach"]["anyOf"]
    assert named["enum"] == list(APPROACHES)
    assert own["$ref"].endswith("/ApproachSettings"), "or a user-defined one"
    assert form["TrainSettings.steps"]["minimum"] == 1


@pytest.mark.parametrize("declared", DECLARED, ids=lambda one: one["name"])
def test_form_has_human_titles_and_no_empty_types(declared: dict[str, Any]) -> None:
    schema = parameter_schema(flow_of(declared)).model_dump()
    form = fields(schema)
    assert not [name for name, field in form.items() if "_" in field.get("title", "")]
    assert not [name for name, field in form.items() if {"type": "null"} in field.get("anyOf", ())]


def test_flow_run_may_be_created_with_fields_that_are_not_set() -> None:
    schema = parameter_schema(flow_of(next(one for one in DECLARED if one["name"] == "train"))).model_dump()
    settings = TrainSettings(env_id="ALE/Pong-v5").model_dump(mode="json") | {"evaluation": None}
    assert settings["n_envs"] is None
    validate({"settings": settings}, schema, raise_on_error=True, preprocess=True)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("record", {"run": "latest", "evaluation": None}), ("guard", {"env_id": None}), ("guard", {"env_id": "Pong-v0"})],
)
def test_flow_run_may_be_created_without_a_group_or_a_choice(name: str, settings: dict[str, Any]) -> None:
    flow = flow_of(next(one for one in DECLARED if one["name"] == name))
    validate({"settings": settings}, parameter_schema(flow).model_dump(), raise_on_error=True, preprocess=True)
    assert flow.validate_parameters({"settings": settings})


def test_group_shows_defaults_unless_the_training_run_has_them() -> None:
    def group(name: str) -> dict[str, Any]:
        flow = flow_of(next(one for one in DECLARED if one["name"] == name))
        found = fields(parameter_schema(flow).model_dump())[f"{name.capitalize()}Settings.evaluation"]
        assert (found["type"], found["title"]) == ("object", "Evaluation")
        return dict(found["properties"])

    assert {name: field["default"] for name, field in group("train").items()} == EvaluationSettings().model_dump()
    assert not [name for name, field in group("record").items() if "default" in field]
    # Prefect's form sends false for a switch that nobody touched.
    assert group("record")["deterministic"]["enum"] == [True, False]


def test_group_that_is_left_empty_is_none() -> None:
    for empty in ({}, {"episodes": None}):
        assert RecordSettings.model_validate({"run": "latest", "evaluation": empty}).evaluation is None


def test_triggers_expect_existing_events() -> None:
    expected = [event for one in DECLARED for trigger in one.get("triggers", ()) for event in trigger["expect"]]
    assert sorted(expected) == [
        events.CHECKPOINT_SAVED, events.PERFORMANCE_DROPPED, events.TRAINING_FINISHED, events.TRAINING_STOPPED,
    ]  # fmt: skip
    assert set(expected) < EVENTS
    page = (FOLDER.parent / "docs/unattended.md").read_text("utf-8")
    assert [event for event in EVENTS if f"`{event}`" not in page] == []


@pytest.mark.parametrize("declared", AUTOMATIONS, ids=lambda one: one["name"])
def test_automation_is_valid(declared: dict[str, Any]) -> None:
    assert AutomationCore.model_validate(declared).name.startswith("ramreel: ")


def schedules(client: SyncPrefectClient) -> dict[str, bool]:
    return {name: one.schedules[0].active for name, one in deploy.deployments(client).items() if one.schedules}


def by_name(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    return deploy.deployments(client)


def test_registration_is_idempotent_and_keeps_user_changes(prefect_server: None) -> None:
    api = PREFECT_API_URL.value()
    assert api
    assert deploy.register(api).changed
    with get_client(sync_client=True) as client:
        first = by_name(client)
        assert first.keys() == {one["name"] for one in DECLARED}
        assert schedules(client) == {"pipeline": False, "guard": False, "prune": True}
        automations = client.read_automations()
        triggers = sum(len(one.get("triggers", ())) for one in DECLARED)
        assert len(automations) == len(AUTOMATIONS) + triggers
        queues = [client.read_work_queue_by_name(name, work_pool_name=deploy.POOL) for name in deploy.QUEUES]
        assert [queue.concurrency_limit for queue in queues] == [None, None, None], "each worker has its own limit"

        guard = first["guard"]
        client.update_deployment_schedule(guard.id, guard.schedules[0].id, active=True)
        prune = first["prune"]
        client.update_deployment_schedule(prune.id, prune.schedules[0].id, active=False)
        retention = {"settings": {"delete": True, "runs_days": 365}}
        client.update_deployment(prune.id, DeploymentUpdate(parameters=retention))
        queue = client.read_work_queue_by_name("evaluation", work_pool_name=deploy.POOL)
        client.update_work_queue(queue.id, concurrency_limit=3)
        off = {AUTOMATIONS[-1]["name"], "ramreel: record each checkpoint"}
        for one in automations:
            if one.name in off:
                client.pause_automation(one.id)

        assert not deploy.register(api).changed, "nothing changed"
        changed = ("guard", "prune")
        assert {name: one.updated for name, one in by_name(client).items() if name not in changed} == {
            name: one.updated for name, one in first.items() if name not in changed
        }

        # As after an upgrade of ramreel from a version with another name of an automation.
        (renamed,) = client.read_automations_by_name(AUTOMATIONS[-1]["name"])
        former = {**AUTOMATIONS[-1], "name": "ramreel: start a crashed run again", "enabled": False}
        client.update_automation(renamed.id, AutomationCore.model_validate(former))
        Variable.set("ramreel_deployments", "another", overwrite=True)
        assert deploy.register(api).changed
        assert {name: one.id for name, one in by_name(client).items()} == {name: one.id for name, one in first.items()}
        assert schedules(client) == {"pipeline": False, "guard": True, "prune": False}
        assert by_name(client)["prune"].parameters == retention
        assert client.read_work_queue_by_name("evaluation", work_pool_name=deploy.POOL).concurrency_limit == 3
        again = client.read_automations()
        assert sorted(one.name for one in again) == sorted(one.name for one in automations), "no duplicates"
        assert {one.name for one in again if not one.enabled} == off


# Dies after the deployments are registered, before the user's changes are restored.
KILLED = """
import os, signal, sys
from tasks.services import deployments as deploy

def deploy_and_die(api_url, registered=deploy._deploy):
    registered(api_url)
    os.kill(os.getpid(), signal.SIGKILL)

deploy._deploy = deploy_and_die
deploy.register(sys.argv[1])
"""


def test_user_changes_survive_a_kill_during_registration(prefect_server: None) -> None:
    api = PREFECT_API_URL.value()
    assert api
    deploy.register(api)
    with get_client(sync_client=True) as client:
        guard = by_name(client)["guard"]
        client.update_deployment_schedule(guard.id, guard.schedules[0].id, active=True)
        (follow_up,) = client.read_automations_by_name("ramreel: follow up each training run")
        client.pause_automation(follow_up.id)
        for _ in range(2):
            Variable.set("ramreel_deployments", "another", overwrite=True)
            killed = subprocess.run([sys.executable, "-c", KILLED, api], cwd=FOLDER.parent, check=False)
            assert killed.returncode == -signal.SIGKILL
        assert not schedules(client)["guard"], "reset to the files' values"
        assert deploy.register(api).changed
        assert schedules(client)["guard"]
        (follow_up,) = client.read_automations_by_name(follow_up.name)
        assert not follow_up.enabled

        # The saved changes are not applied to a later registration.
        client.resume_automation(follow_up.id)
        Variable.set("ramreel_deployments", "another", overwrite=True)
        assert deploy.register(api).changed
        assert client.read_automations_by_name(follow_up.name)[0].enabled


def test_only_flow_runs_of_a_killed_worker_are_restarted(prefect_server: None) -> None:
    api = PREFECT_API_URL.value()
    assert api
    deploy.register(api)
    with get_client(sync_client=True) as client:
        guard, train = by_name(client)["guard"], by_name(client)["train"]
        states = (Scheduled(), Pending(), Pending(name="Submitting"), Running(), Completed())
        ours = [client.create_flow_run_from_deployment(guard.id) for _ in states]
        elsewhere = client.create_flow_run(flow_of(DECLARED[0]), state=Running())
        other_queue = client.create_flow_run_from_deployment(train.id)
        for run, state in zip((*ours, other_queue), (*states, Running()), strict=True):
            client.set_flow_run_state(run.id, state, force=True)
        assert deploy.restart_interrupted_runs(api, "evaluation") == 3
        names = [client.read_flow_run(run.id).state_name for run in (*ours, elsewhere, other_queue)]
        assert names == [
            "Scheduled", "AwaitingRetry", "AwaitingRetry", "AwaitingRetry", "Completed", "Running", "Running",
        ]  # fmt: skip
        assert deploy.restart_interrupted_runs(api, "evaluation") == 0
        assert deploy.restart_interrupted_runs(api, "training") == 1
