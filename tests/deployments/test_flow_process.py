"""The process of a deployment's flow run; its worker processes start without importing Prefect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

FLOW = """
import json
from pathlib import Path
from prefect import flow
from loaded import loaded
from tasks.execution.worker_processes import run_in_process

@flow
def probe(to: str) -> None:
    here = Path(to).parent
    Path(to).write_text(json.dumps([loaded(), run_in_process(here / "nothing", loaded)]))
"""
LOADED = """
import sys

def loaded():
    return "prefect" in sys.modules
"""


def test_worker_processes_do_not_import_prefect(prefect_server: None, tmp_path: Path) -> None:
    # Prefect copies a deployment's folder into the working directory of the flow run.
    code, work = tmp_path / "code", tmp_path / "work"
    code.mkdir()
    work.mkdir()
    (code / "probe.py").write_text(FLOW)
    (code / "loaded.py").write_text(LOADED)
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow_from_name("probe"), "probe", entrypoint="probe.py:probe", path=str(code)
        )
        run = client.create_flow_run_from_deployment(deployment, parameters={"to": str(tmp_path / "output.json")})
        environment = {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT__FLOW_RUN_ID": str(run.id)}
        completed = subprocess.run(
            [sys.executable, "-m", "flows.runtime.flow_process"],
            env={**os.environ, **environment, "PYTHONPATH": str(code)}, cwd=work,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert completed.returncode == 0, completed.stderr
        assert client.read_flow_run(run.id).state_name == "Completed"
    assert json.loads((tmp_path / "output.json").read_text()) == [True, False]
