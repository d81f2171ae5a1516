"""The command line of a run, or the deployment that it is run by, is stored without passwords."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from tasks.execution.provenance import command


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("https://someone:secret@host/path", "https://host/path"),
        ("http://someone:se@cret@host", "http://host"),
        ("postgresql://someone:secret@host:5432/runs", "postgresql://host:5432/runs"),
        ("postgresql://host/runs?password=secret&user=someone", "postgresql://host/runs?user=someone"),
        ("sqlite:////srv/some@one/mlflow.db", "sqlite:////srv/some@one/mlflow.db"),
    ],
)
def test_command_is_stored_without_passwords(address: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/ramreel", "train", "ALE/Pong-v5", "--tracking-uri", address])
    assert shlex.split(command()) == ["ramreel", "train", "ALE/Pong-v5", "--tracking-uri", kept]


FLOW = """
from pathlib import Path
from prefect import flow, task
from tasks.execution.provenance import command

@task
def write(to):
    Path(to).write_text(command())

@flow
def inner(to):
    write(to)

@flow
def probe(to: str, settings: dict):
    inner(to)
"""


def test_command_of_a_deployments_flow_run_runs_the_deployment(prefect_server: None, tmp_path: Path) -> None:
    code, output = tmp_path / "code", tmp_path / "output"
    code.mkdir()
    (code / "probe.py").write_text(FLOW)
    parameters = {"to": str(output), "settings": {"env_id": "ALE/Pong-v5", "seed": 3}}
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow_from_name("probe"), "nightly", entrypoint="probe.py:probe", path=str(code)
        )
        run = client.create_flow_run_from_deployment(deployment, parameters=parameters)
    environment = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT__FLOW_RUN_ID": str(run.id)}
    subprocess.run(
        [sys.executable, "-m", "flows.runtime.flow_process"],
        env={**os.environ, **environment}, cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    *arguments, stored = shlex.split(output.read_text())
    assert arguments == ["prefect", "deployment", "run", "probe/nightly", "--params"]
    assert json.loads(stored) == parameters
