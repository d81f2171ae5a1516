"""Four training runs on three machines, then faults: nothing is lost, nothing is done twice, no run stays Running."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from helpers.cluster import TIMEOUT_SECONDS, Cluster, eventually
from helpers.processes import started, wait_until
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Cancelling

GAME = "ALE/Breakout-v5"
ROLLOUT = 4096
TRAINING = {"env_id": GAME, "approach": "ppo-tuned", "steps": 2 * ROLLOUT, "checkpoint_every": ROLLOUT, "workers": 1}
LONG = TRAINING | {"steps": 4 * ROLLOUT}
APPROACHES, SEEDS = ("ppo-tuned", "a2c"), (1, 2)


def alone(settings: dict[str, Any], home: Path) -> str:
    """Train on this machine alone, and return the digest of the last checkpoint."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items() if name != "env_id"]
    environment = dict.fromkeys(("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), "")
    with started(["train", GAME, *options, "--json", "--quiet"], home, environment) as command:
        assert wait_until(lambda: command.exited, TIMEOUT_SECONDS)
        code, out, errors = command.wait()
    assert code == 0, errors
    return str(json.loads(out)["checkpoint_digest"])


def assert_finished_once(cluster: Cluster, flow_run: UUID, settings: dict[str, Any]) -> None:
    """Assert that a training flow run ends in one MLflow run with every checkpoint."""
    assert cluster.ends(flow_run) == "Completed"
    runs = cluster.store.runs_tagged("ramreel.root_flow_run_id", str(flow_run))
    assert len(runs) == 1
    steps = cluster.steps(flow_run)
    assert len(steps) == len(set(steps)) >= settings["steps"] // settings["checkpoint_every"]
    assert steps[-1] >= settings["steps"]


@pytest.fixture(scope="session")
def long_digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return alone(LONG | {"seed": 7}, tmp_path_factory.mktemp("alone"))


def test_training_runs_spread_over_machines_and_have_the_weights_of_one_machine(
    cluster: Cluster, tmp_path: Path
) -> None:
    settings = [TRAINING | {"approach": approach, "seed": seed} for approach in APPROACHES for seed in SEEDS]
    with cluster.timed("none: four training runs", "on several machines; checkpoints as on one machine"):
        flow_runs = [cluster.run("train", one) for one in settings]
        for flow_run, one in zip(flow_runs, settings, strict=True):
            assert_finished_once(cluster, flow_run, one)
    assert len({cluster.box_of(flow_run).name for flow_run in flow_runs}) >= 2
    digests = [cluster.digest(flow_run) for flow_run in flow_runs]
    assert digests[3] == alone(settings[3], tmp_path / "alone")


def test_machine_killed_while_it_trains(cluster: Cluster, long_digest: str) -> None:
    settings = LONG | {"seed": 7}
    flow_run = cluster.run("train", settings)
    assert eventually(lambda: cluster.steps(flow_run))
    box = cluster.box_of(flow_run)
    box.kill()
    with cluster.timed("kill -9 of a machine that trains", "restarted on another machine"):
        assert eventually(lambda: cluster.flow_run(flow_run).run_count == 2)
    with cluster.timed("", "finished, with the checkpoints of an uninterrupted run"):
        assert_finished_once(cluster, flow_run, settings)
    assert cluster.box_of(flow_run).name != box.name
    assert cluster.digest(flow_run) == long_digest
    cluster.join(int(box.name[-1]))


def test_process_of_the_api_killed(cluster: Cluster) -> None:
    server = cluster.machines["server"]
    (parent,) = server.processes("prefect.server.api.server:create_app")
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    replicas = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(replicas) == 2
    failed = 0
    with cluster.timed("kill -9 of one of two processes of Prefect's API", "replaced"):
        os.kill(replicas[0], signal.SIGKILL)
        for _ in range(100):
            try:
                httpx.get(f"http://{server.address}:4200/api/health", timeout=30).raise_for_status()
            except httpx.HTTPError:
                failed += 1
    assert failed <= 1, "at most the request that it was answering"


def test_canceled_training_run_keeps_its_last_checkpoint(cluster: Cluster) -> None:
    flow_run = cluster.run("train", LONG | {"steps": 10**8, "seed": 8, "checkpoint_every": 10**8})
    assert eventually(lambda: (run_id := cluster.trained_by(flow_run)) and cluster.store.run(run_id).metrics)
    cluster.client.set_flow_run_state(flow_run, Cancelling())
    with cluster.timed("cancellation of a training run", "Cancelled, with a last checkpoint"):
        assert eventually(lambda: cluster.state(flow_run) == "Cancelled")
    run_id = cluster.trained_by(flow_run)
    assert run_id
    assert eventually(lambda: cluster.store.run(run_id).status != "RUNNING")
    assert cluster.steps(flow_run)


def test_nothing_stays_running(cluster: Cluster) -> None:
    active = FlowRunFilter.model_validate({"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}})
    assert eventually(lambda: not cluster.client.read_flow_runs(flow_run_filter=active))
