"""A parent's child runs on workers: found again after a kill, canceled with it, waited for until the last restart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from helpers.evidence import histories
from helpers.processes import kill, wait_until
from helpers.servers import mlflow_server, prefect_server, running
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from tasks.services import deployments as deploy
from tasks.store import Store, open_store

SECONDS = 600
"""Ten times what a step takes, for machines with other load."""
SMALL = {
    "env_id": "ALE/Breakout-v5",
    "approaches": ["random"],
    "seeds": [1, 2],
    "steps": 1000,
    "evaluation": {"episodes": 1},
    "name": "small",
}
ENDLESS = {
    "env_id": "ALE/Breakout-v5",
    "approaches": ["ppo"],
    "seeds": [1, 2],
    "steps": 10**8,
    "checkpoint_every": 10**8,
    "n_envs": 1,
    "workers": 1,
}


@dataclass
class Cluster:
    """A Prefect server with a worker that executes all queues, over an MLflow server."""

    client: SyncPrefectClient
    store: Store

    def run(self, deployment: str, settings: object) -> UUID:
        found = deploy.deployments(self.client)[deployment]
        return self.client.create_flow_run_from_deployment(found.id, parameters={"settings": settings}).id

    def runs(self, deployment: str, parent: UUID) -> list[FlowRun]:
        """Return the child runs of a parent."""
        children = self.client.read_flow_runs(
            deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [deployment]}}),
            flow_run_filter=FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [parent]}}),
        )
        return sorted(children, key=lambda run: run.created or 0)

    def state(self, flow_run: UUID) -> str:
        return self.client.read_flow_run(flow_run).state_name or ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    servers = prefect_server(folder / "prefect"), mlflow_server(folder / "mlflow", migrated)
    with running(servers[0]) as prefect, running(servers[1]) as mlflow:
        deploy.register(prefect.address)
        environment = {
            "PREFECT_API_URL": prefect.address,
            "MLFLOW_TRACKING_URI": mlflow.address,
            "RAMREEL_HOME": str(folder),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        worker = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", deploy.POOL],
            env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            with SyncPrefectClient(prefect.address) as client:
                yield Cluster(client, open_store(mlflow.address))
        finally:
            # Its flow runs are in its process group.
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


def process_of(flow_run: UUID) -> int | None:
    """Return the id of the process that executes a flow run."""
    marker = f"PREFECT__FLOW_RUN_ID={flow_run}".encode()
    for entry in Path("/proc").iterdir():
        try:
            if marker in (entry / "environ").read_bytes() and b"flow_process" in (entry / "cmdline").read_bytes():
                return int(entry.name)
        except (OSError, ValueError):
            continue
    return None


def eventually(condition: Any) -> bool:
    return wait_until(condition, SECONDS, every=0.5)


def test_killed_parent_finds_its_child_runs(cluster: Cluster) -> None:
    parent = cluster.run("pipeline", SMALL)
    assert eventually(lambda: len(cluster.runs("train", parent)) == 2)
    process = process_of(parent)
    assert process is not None
    assert kill(process)
    assert eventually(lambda: cluster.state(parent) in ("Completed", "Failed"))
    run = cluster.client.read_flow_run(parent)
    assert (run.state_name, run.run_count) == ("Completed", 2)
    for deployment in ("train", "record"):
        assert [child.state_name for child in cluster.runs(deployment, parent)] == ["Completed"] * 2
    trained = cluster.store.runs_tagged("ramreel.root_flow_run_id", str(parent))
    assert len(trained) == 2
    assert all(cluster.store.complete_videos(run_id) for run_id in trained)
    found = cluster.store.runs_with({"ramreel.kind": "comparison"}, status="FINISHED")
    # Follow-ups compare the runs, too.
    (comparison,) = (
        run for run in cluster.store.iter_runs(found) if "pipeline/pipeline" in run.tags["ramreel.command"]
    )
    assert all(run_id in comparison.tags["ramreel.runs"] for run_id in trained)


def test_canceled_parent_cancels_its_child_runs(cluster: Cluster) -> None:
    parent = cluster.run("pipeline", ENDLESS)

    def playing() -> list[str]:
        runs = cluster.store.runs_tagged("ramreel.root_flow_run_id", str(parent))
        return [run_id for run_id in runs if "time/iterations" in histories(cluster.store, run_id)]

    assert eventually(lambda: len(playing()) == 2)
    cluster.client.set_flow_run_state(parent, Cancelling())
    assert eventually(lambda: cluster.state(parent) == "Cancelled")
    children = cluster.runs("train", parent)
    assert eventually(lambda: {cluster.state(child.id) for child in children} == {"Cancelled"})
    for run_id in playing():
        assert cluster.store.run(run_id).status == "KILLED"
        assert len(cluster.store.list_checkpoints(run_id)) == 1
