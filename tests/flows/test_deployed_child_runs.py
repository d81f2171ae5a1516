"""A parent waits for the child runs of deployments, also for those that crash and are restarted."""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import copy_context
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Running

from flows.runtime import deployed_child_runs
from flows.runtime.child_run import ChildRun, FailedChild
from flows.runtime.deployed_child_runs import has_workers, run_on_workers
from flows.train import train
from tasks.arcade.inputs.forms import TrainSettings
from tasks.execution.crash_loop import MAX_STARTS

RUN = TrainSettings(env_id="ALE/Pong-v5")


@flow
def parent() -> list[tuple[FailedChild, ...]]:
    names = {"finished", "crashed", "canceled"}
    children = [ChildRun(train, RUN.model_copy(update={"name": name}), name) for name in sorted(names)]
    children[2] = ChildRun(train, children[2].settings, "finished", lambda: ChildRun(train, RUN, "following"))
    assert not has_workers(children)
    # As a parent that was killed and started again.
    return [run_on_workers(children), run_on_workers([child for child in children if child.key != "canceled"])]


def execute(of_deployment: DeploymentFilter, others: set[UUID]) -> None:
    """Report states of the child runs as workers do."""
    crash = [Running(), Crashed(), AwaitingRetry()]
    script: dict[str | None, list[State]] = {
        "finished": [*crash, Running(), Completed()],
        "crashed": [*crash * (MAX_STARTS - 1), Running(), Crashed()],
        "canceled": [Running(), Cancelled(message="Canceled by a person.")],
        None: [Running(), Completed()],
    }
    with get_client(sync_client=True) as client:
        while any(script.values()):
            # Prefect's client does not retry every error of a server under load.
            with suppress(httpx.HTTPError):
                for run in client.read_flow_runs(deployment_filter=of_deployment):
                    states = [] if run.id in others else script[run.parameters["settings"]["name"]]
                    while states:
                        client.set_flow_run_state(run.id, states[0], force=True)
                        del states[0]


def test_parent_waits_until_child_runs_have_ended_for_good(
    prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployed_child_runs, "_POLL_SECONDS", 0.1)
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(train), "train")
        of_deployment = DeploymentFilter.model_validate({"id": {"any_": [deployment]}})
        others = {run.id for run in client.read_flow_runs(deployment_filter=of_deployment)}
        worker = threading.Thread(target=copy_context().run, args=(execute, of_deployment, others))
        worker.start()
        first, again = parent()
        worker.join()
        reasons = {child.key: child.reason for child in first}
        assert reasons == {"crashed": f"crashed {MAX_STARTS} times", "canceled": "Canceled by a person."}
        assert [child.key for child in again] == ["crashed"]
        runs = [run for run in client.read_flow_runs(deployment_filter=of_deployment) if run.id not in others]
        assert len(runs) == 4, "the second time the same child runs were found"
        assert all(run.parent_task_run_id for run in runs)
        client.delete_deployment(deployment)
