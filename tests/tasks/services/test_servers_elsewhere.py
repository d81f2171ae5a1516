"""`ramreel deploy` and `ramreel status` with a Prefect server and an MLflow server that `ramreel up` did not start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.processes import ROOT, error_lines, started, wait_until
from helpers.servers import Server, mlflow_server, prefect_server, running
from prefect.automations import AutomationCore
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Scheduled

from tasks.services import deployments as deploy

FOLDER = ROOT / "deployments"
DECLARED: list[dict[str, Any]] = yaml.safe_load((FOLDER / "prefect.yaml").read_text("utf-8"))["deployments"]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "automations.yaml").read_text("utf-8"))["automations"]
TRIGGERS = [trigger["name"] for one in DECLARED for trigger in one.get("triggers", ())]
NAMES = sorted([*TRIGGERS, *(one["name"] for one in AUTOMATIONS)])


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(prefect_server(tmp_path_factory.mktemp("servers") / "prefect")) as server:
        yield server


def ramreel(arguments: list[str], home: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    with started(arguments, home, environment) as command:
        return command.wait()


def test_deploy_creates_or_updates_by_name(prefect: Server, tmp_path: Path) -> None:
    environment = {"PREFECT_API_URL": prefect.address}
    with SyncPrefectClient(prefect.address) as client:
        # As version 0.1 and `prefect automation create`, called twice, left it.
        client.create_work_pool(WorkPoolCreate(name=deploy.POOL, type="process"))
        for name, limit in (("training", 1), ("evaluation", 3)):
            client.create_work_queue(name=name, concurrency_limit=limit, work_pool_name=deploy.POOL)
        for _ in range(2):
            client.create_automation(AutomationCore.model_validate(AUTOMATIONS[0]))

        def limits() -> list[int | None]:
            queues = (client.read_work_queue_by_name(name, work_pool_name=deploy.POOL) for name in deploy.QUEUES)
            return [queue.concurrency_limit for queue in queues]

        ids = []
        for changed in (True, False):
            code, out, errors = ramreel(["deploy", "--json"], tmp_path, environment)
            assert code == 0, errors
            result = json.loads(out)
            assert result["changed"] is changed
            assert result["work_pool"] == deploy.POOL
            assert result["deployments"] == [one["name"] for one in DECLARED]
            assert sorted(result["automations"]) == NAMES
            assert sorted(one.name for one in client.read_automations()) == NAMES
            assert limits() == [None, 3, None], "a limit of a queue is that of all machines; a user's own stays"
            ids.append({one.name: one.id for one in client.read_deployments()})
        assert ids[0] == ids[1]

        queue = client.read_work_queue_by_name("training", work_pool_name=deploy.POOL)
        client.update_work_queue(queue.id, concurrency_limit=1)
        client.delete_automation(client.read_automations_by_name(AUTOMATIONS[1]["name"])[0].id)
        code, out, errors = ramreel(["deploy"], tmp_path, environment)
        assert code == 0, errors
        assert f"registered at {prefect.address}" in out
        assert sorted(one.name for one in client.read_automations()) == NAMES
        assert limits() == [1, 3, None]
    assert not (tmp_path / "mlruns").exists()


def test_deploy_without_a_usable_server_is_one_line(tmp_path: Path, migrated: Path) -> None:
    with running(mlflow_server(tmp_path / "mlflow", migrated)) as mlflow:
        for api, reason in {
            "": "PREFECT_API_URL is not set: set it to the API of a Prefect server",
            "http://me:secret@127.0.0.1:9/api": "no Prefect server responds at http://127.0.0.1:9/api: start it",
            f"{mlflow.address}/api": f"no Prefect server responds at {mlflow.address}/api: start it",
        }.items():
            code, out, errors = ramreel(["deploy"], tmp_path / "home", {"PREFECT_API_URL": api})
            assert (code, out) == (2, ""), errors
            assert reason in errors
            assert len(error_lines(errors)) == 1
            assert "secret" not in errors


@contextmanager
def worker(name: str, environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", deploy.POOL, "--name", name]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.Popen(
        [*command, "--work-queue", "training", "--limit", "1"],
        env={**os.environ, **environment, "PATH": path, "PREFECT_WORKER_QUERY_SECONDS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        # Its flow runs are in its process group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_status_shows_the_servers_and_the_machine_of_each_run(prefect: Server, migrated: Path, tmp_path: Path) -> None:
    with running(mlflow_server(tmp_path / "mlflow", migrated)) as mlflow, SyncPrefectClient(prefect.address) as client:
        deploy.register(prefect.address)
        environment = {"PREFECT_API_URL": prefect.address, "MLFLOW_TRACKING_URI": mlflow.address}

        def status() -> Any:
            code, out, errors = ramreel(["status", "--json"], tmp_path / "laptop", environment)
            assert code == 0, errors
            return json.loads(out)

        found = status()
        assert (found["prefect"], found["mlflow"]) == (prefect.address.removesuffix("/api"), mlflow.address)
        assert (found["prefect_error"], found["workers"], found["running"]) == (None, 0, [])

        settings = {"env_id": "ALE/Pong-v5", "approach": "ppo", "steps": 10**8, "checkpoint_every": 10**8, "workers": 1}
        train = client.create_flow_run_from_deployment(
            deploy.deployments(client)["train"].id, parameters={"settings": settings}
        )
        assert status()["waiting"] == 0, "it has been due for seconds"
        late = client.create_flow_run_from_deployment(
            deploy.deployments(client)["compare"].id,
            state=Scheduled(scheduled_time=datetime.now(UTC) - timedelta(minutes=2)),
        )
        assert status()["waiting"] == 1
        client.delete_flow_run(late.id)
        with worker("box 7", environment | {"RAMREEL_HOME": str(tmp_path / "box")}):
            assert wait_until(lambda: client.read_flow_run(train.id).state_name == "Running", every=0.5)
            # Its MLflow run comes next.
            assert wait_until(lambda: (runs := status()["running"]) and runs[0]["host"])
            (run,) = status()["running"]
            assert (run["flow_run_id"], run["worker"], run["host"]) == (str(train.id), "box 7", socket.gethostname())
            code, out, errors = ramreel(["status"], tmp_path / "laptop", environment)
        assert code == 0, errors
        assert f" by worker box 7 on {socket.gethostname()}\n" in out

    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    found = status()
    assert (found["prefect"], found["mlflow"]) == ("http://127.0.0.1:9", None)
    assert "no Prefect server responds at http://127.0.0.1:9/api" in found["prefect_error"]
