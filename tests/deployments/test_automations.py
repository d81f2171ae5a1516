"""The automations on a real Prefect server: what crashed is restarted, what was canceled or typed is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from helpers.approaches import settings_file
from helpers.processes import started, wait_until
from helpers.servers import Server, prefect_server, running
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Cancelling, Crashed, Running

from tasks.execution.events import CHECKPOINT_SAVED
from tasks.services.orphans import monitored_command
from tasks.services.server_processes import EVENT_ENVIRONMENT

FILE = Path(__file__).parents[2] / "deployments" / "automations.yaml"
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load(FILE.read_text("utf-8"))["automations"]
HEARTBEAT = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}}}


def scaled(automation: dict[str, Any]) -> AutomationCore:
    """Return an automation that waits for 10 to 14 seconds, in the same order; 10 are Prefect's minimum."""
    trigger = automation["trigger"]
    within = max(10, min(trigger["within"], 48) / 3.5)
    return AutomationCore.model_validate({**automation, "trigger": {**trigger, "within": within}})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = prefect_server(tmp_path_factory.mktemp("servers") / "prefect")
    server.environment = {
        **server.environment,
        **EVENT_ENVIRONMENT,
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.2",
    }
    with running(server):
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(server.address) as client:
        for automation in AUTOMATIONS:
            client.create_automation(scaled(automation))
        yield client


def run_deployment(client: SyncPrefectClient, deployment: UUID) -> UUID:
    """Create a flow run as a deployment does, and return its id once it is running."""
    run_id = client.create_flow_run_from_deployment(deployment).id
    client.set_flow_run_state(run_id, Running(), force=True)
    return run_id


def state(client: SyncPrefectClient, run_id: UUID) -> str | None:
    return client.read_flow_run(run_id).state_name


def states(client: SyncPrefectClient, run_id: UUID) -> list[str | None]:
    return [one.name for one in client.read_flow_run_states(run_id)]


def test_three_heartbeats_are_awaited() -> None:
    (within,) = (
        one["trigger"]["within"] for one in AUTOMATIONS if one["trigger"]["after"] == ["prefect.flow-run.heartbeat"]
    )
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 600}), monitored_command():
        assert 3 * PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() <= within
    deployments = yaml.safe_load(FILE.with_name("prefect.yaml").read_text("utf-8"))["deployments"]
    for one in deployments:
        frequency = one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"]
        assert 3 * int(frequency) <= within, one["name"]


def test_crash_is_restarted_but_neither_a_cancellation_nor_a_killed_command(
    server: Server, client: SyncPrefectClient, home: Path, tmp_path: Path
) -> None:
    deployment = client.create_deployment(client.create_flow_from_name("train"), "train", tags=["ramreel"])
    canceled, crashed = run_deployment(client, deployment), run_deployment(client, deployment)
    # What a worker was seen to report for a canceled process.
    client.set_flow_run_state(canceled, Cancelling(), force=True)
    client.set_flow_run_state(canceled, Crashed(), force=True)
    client.set_flow_run_state(crashed, Crashed(), force=True)

    arguments = ["train", "ALE/Breakout-v5", "--settings", str(settings_file(tmp_path)), "--steps", "1000000000"]
    with started([*arguments, "--workers", "1"], home, {"PREFECT_API_URL": server.address}) as command:
        assert wait_until(lambda: command.exited or server.post("/events/filter", HEARTBEAT)["events"])
        assert not command.exited, command.output()
        command.kill()
    assert wait_until(lambda: state(client, crashed) == "AwaitingRetry")
    assert wait_until(lambda: state(client, canceled) == "Cancelled")

    (typed,) = client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate({"tags": {"all_": ["ramreel.command"]}})
    )
    assert wait_until(lambda: state(client, typed.id) == "Crashed"), "its heartbeats stopped"
    later = run_deployment(client, deployment)
    client.set_flow_run_state(later, Crashed(), force=True)
    assert wait_until(lambda: state(client, later) == "AwaitingRetry")
    assert states(client, typed.id)[-1] == "Crashed", "nothing can restart it"
    assert "AwaitingRetry" not in states(client, canceled)


def test_killed_process_is_noticed_while_automations_are_evaluated_late(tmp_path: Path) -> None:
    """As after an outage of Redis, which Prefect's evaluation of automations was seen to pause after."""
    server = prefect_server(tmp_path / "prefect")
    server.environment = {
        **server.environment,
        **EVENT_ENVIRONMENT,
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT30S",
    }
    (detect,) = (one for one in AUTOMATIONS if one["trigger"]["after"] == ["prefect.flow-run.heartbeat"])
    with running(server), SyncPrefectClient(server.address) as client:
        client.create_automation(scaled(detect))
        deployment = client.create_deployment(client.create_flow_from_name("train"), "train", tags=["ramreel"])
        run_id = run_deployment(client, deployment)
        client.request("POST", "/events", json=[heartbeat(run_id)]).raise_for_status()
        assert wait_until(lambda: state(client, run_id) == "Crashed")


def heartbeat(run_id: UUID) -> dict[str, Any]:
    """Return the event that Prefect's engine emits."""
    return {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run_id}"},
        "related": [{"prefect.resource.id": "prefect.tag.ramreel", "prefect.resource.role": "tag"}],
    }


def test_checkpoints_of_a_run_are_recorded_together(client: SyncPrefectClient) -> None:
    record = client.create_deployment(client.create_flow_from_name("record"), "record")
    declared = yaml.safe_load(FILE.with_name("prefect.yaml").read_text("utf-8"))["deployments"]
    (recorded,) = (one for one in declared if one["name"] == "record")
    trigger = DeploymentEventTrigger.model_validate(recorded["triggers"][0])
    trigger.set_deployment_id(record)
    client.create_automation(trigger.as_automation())
    # The triggers take effect some time later.
    assert wait_until(lambda: recordings(client, record, "first"), every=1)
    before = recordings(client, record)
    recordings(client, record, "one", "other", "one", "other", "one", "last")
    expected = sorted([*before, "one", "other", "last"])
    assert wait_until(lambda: sorted(recordings(client, record)) == expected), "one flow run for each run"


def recordings(client: SyncPrefectClient, deployment: UUID, *saved: str) -> list[str]:
    """Emit that checkpoints of these runs were saved; return the runs that are being recorded so far."""
    events = [
        {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": CHECKPOINT_SAVED,
            "resource": {"prefect.resource.id": f"ramreel.checkpoint.{run}.{step}"},
            "related": [{"prefect.resource.id": f"ramreel.run.{run}", "prefect.resource.role": "training"}],
            "payload": {"run_id": run, "step": step},
        }
        for step, run in enumerate(saved)
    ]
    if events:
        client.request("POST", "/events", json=events)
    of_deployment = DeploymentFilter.model_validate({"id": {"any_": [deployment]}})
    return [run.parameters["settings"]["run"] for run in client.read_flow_runs(deployment_filter=of_deployment)]
