"""`ramreel up` on PostgreSQL, Redis and S3, and a machine that joins it with `ramreel worker`, both with passwords."""

from __future__ import annotations

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from helpers.backends import BUCKET, PASSWORD, S3_KEYS, TestBackends, backends
from helpers.processes import Command, error_lines, started, wait_until
from helpers.servers import free_port

LOGIN = {
    "PREFECT_API_AUTH_STRING": f"lab:{PASSWORD}",
    "MLFLOW_TRACKING_USERNAME": "admin",
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
}
READY = "Press Ctrl-C to stop."


@dataclass(frozen=True)
class Cluster:
    """A running `ramreel up`."""

    up: Command
    prefect: str
    mlflow: str
    gallery: str
    database: str

    @property
    def laptop(self) -> dict[str, str]:
        """Variables of commands that use its servers."""
        return {**LOGIN, "PREFECT_API_URL": f"{self.prefect}/api", "MLFLOW_TRACKING_URI": self.mlflow}

    def ramreel(self, arguments: list[str], home: Path) -> Any:
        with started([*arguments, "--json"], home, self.laptop) as command:
            code, out, errors = command.wait()
        assert code == 0, errors
        return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestBackends]:
    with backends(tmp_path_factory.mktemp("backends")) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(real: TestBackends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    prefect, mlflow, gallery = free_port(), free_port(), free_port()
    database = real.database("cluster")
    environment = {
        **real.environment,
        "RAMREEL_DATABASE": database,
        "PREFECT_SERVER_API_AUTH_STRING": f"lab:{PASSWORD}",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
    }
    options = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow), "--redis", real.redis]
    options += ["--gallery-port", str(gallery)]
    arguments = ["up", "--host", "127.0.0.1", *options, "--artifacts", f"s3://{BUCKET}/runs"]
    with started(arguments, tmp_path_factory.mktemp("server"), environment) as up:
        assert wait_until(lambda: up.exited or READY in up.output()[0], every=0.2)
        assert not up.exited, up.output()
        addresses = (f"http://127.0.0.1:{port}" for port in (prefect, mlflow, gallery))
        yield Cluster(up, *addresses, database)
        up.ctrl_c()
        assert up.wait()[0] == 130
        assert wait_until(lambda: not up.family())


def status_code(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_both_servers_have_schemas_of_their_own_and_passwords(cluster: Cluster) -> None:
    lines = cluster.up.output()[0].splitlines()
    assert lines[1].split() == ["Gallery:", cluster.gallery]
    assert lines[2].split() == ["Prefect:", cluster.prefect]
    assert lines[3].split()[:2] == ["MLflow:", cluster.mlflow]
    assert f"`ramreel worker --server {cluster.prefect.removeprefix('http://')}`" in lines[5]
    engine = sqlalchemy.create_engine(cluster.database)
    inspector = sqlalchemy.inspect(engine)
    assert {"flow_run", "deployment"} <= set(inspector.get_table_names("prefect"))
    assert {"runs", "metrics"} <= set(inspector.get_table_names("mlflow"))
    assert "users" in inspector.get_table_names("mlflow_users")
    assert inspector.get_table_names("public") == []
    engine.dispose()
    assert status_code(cluster.gallery) == 401
    assert status_code(f"{cluster.prefect}/api/work_pools/ramreel") == 401
    assert status_code(f"{cluster.mlflow}/api/2.0/mlflow/experiments/search?max_results=1") == 401


def test_password_is_in_no_argument_and_no_output(cluster: Cluster) -> None:
    family = cluster.up.family()
    arguments = b"\n".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in family)
    assert b"backend-store-uri" in arguments
    for secret in (PASSWORD, *S3_KEYS.values()):
        assert secret.encode() not in arguments.replace(S3_KEYS["AWS_DEFAULT_REGION"].encode(), b"")
    assert PASSWORD not in "".join(cluster.up.output())


def test_process_that_is_killed_is_replaced(cluster: Cluster) -> None:
    def processes() -> set[int]:
        (parent,) = cluster.up.family("prefect.server.api.server:create_app")
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}

    before = processes()
    assert len(before) == 2
    os.kill(min(before), signal.SIGKILL)
    assert wait_until(lambda: len(processes() - before) == 1)
    assert status_code(f"{cluster.prefect}/api/health") == 200


def test_machine_joins_and_executes_the_flow_runs(cluster: Cluster, tmp_path: Path) -> None:
    server = cluster.prefect.removeprefix("http://")
    with started(["worker", "--server", server], tmp_path / "box", LOGIN) as box:
        assert wait_until(lambda: box.exited or READY in box.output()[0], every=0.2)
        assert not box.exited, box.output()
        assert wait_until(lambda: cluster.ramreel(["status"], tmp_path / "laptop")["workers"] == 3, every=1)
        trained = cluster.ramreel(
            ["train", "ALE/Breakout-v5", "--approach", "a2c", "--n-envs", "2", "--steps", "512"], tmp_path / "laptop"
        )
        # The event of its checkpoint starts the deployment `record` on the machine.
        assert wait_until(lambda: videos(cluster, trained["run_id"]), every=1)
        assert PASSWORD not in "".join(box.output())
        box.ctrl_c()
        assert box.wait()[0] == 130


def videos(cluster: Cluster, run_id: str) -> list[str]:
    """Return the videos of a run that MLflow serves."""
    import base64

    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{cluster.mlflow}/api/2.0/mlflow/artifacts/list?run_id={run_id}&path=videos",
        headers={"Authorization": f"Basic {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        files = [one["path"] for one in json.load(response).get("files", ())]
    return [path for path in files if re.search(r"\.mp4$", path)]


def test_machine_without_the_password_of_mlflow_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    server = cluster.prefect.removeprefix("http://")
    login = LOGIN | {"MLFLOW_TRACKING_PASSWORD": "wrong"}
    with started(["worker", "--server", server], tmp_path / "box", login) as box:
        code, out, errors = box.wait()
    assert (code, out) == (2, "")
    assert "refuses the credentials: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in errors
    assert len(error_lines(errors)) == 1
