"""A running `ramreel up`, operated through the public APIs of both servers as a user does in their UIs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import TIMEOUT_SECONDS, Command, started, wait_until
from helpers.servers import free_port, request
from tasks.store import Store, open_store

READY = "Press Ctrl-C to stop."


@dataclass
class Unattended:
    """`ramreel up` over one home; it can be started and stopped repeatedly."""

    home: Path
    notify: str
    prefect_port: int = field(default_factory=free_port)
    mlflow_port: int = field(default_factory=free_port)
    gallery_port: int = field(default_factory=free_port)

    @classmethod
    @contextmanager
    def running(cls, home: Path, notify: str = "") -> Iterator[Unattended]:
        """Run it for the block, without the servers and settings of the developer's environment."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "RAMREEL_"))]:
                patch.delenv(name)
            up = cls(home, notify)
            try:
                up.start()
                yield up
            finally:
                up.end()

    def __post_init__(self) -> None:
        self.command: Command | None = None

    @property
    def prefect(self) -> str:
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def store(self) -> Store:
        return open_store(self.mlflow)

    def start(self) -> list[str]:
        """Start it and wait until it is ready; return its output."""
        ports = ["--prefect-port", str(self.prefect_port), "--mlflow-port", str(self.mlflow_port)]
        ports += ["--gallery-port", str(self.gallery_port)]
        self.command = up = Command(["up", *ports], self.home, {"RAMREEL_NOTIFY": self.notify})
        assert wait_until(lambda: up.exited or READY in up.output()[0], every=0.2)
        assert not up.exited, up.output()
        return up.output()[0].splitlines()

    def stop(self) -> None:
        """Press Ctrl-C and wait until all its processes have exited."""
        up = self.command
        assert up is not None
        up.ctrl_c()
        code, _, errors = up.wait()
        assert code == 130, errors
        assert "Traceback" not in errors
        assert wait_until(lambda: not up.family())
        up.end()

    def end(self) -> None:
        if self.command is not None:
            self.command.end()

    def ramreel(self, *arguments: str, seconds: float = TIMEOUT_SECONDS) -> Any:
        """Return the JSON output of a command in the same home, which may take some seconds."""
        with started([*arguments, "--json"], self.home) as command:
            code, out, errors = command.wait(seconds)
        assert code == 0, errors
        return json.loads(out.splitlines()[-1])

    def printed(self) -> str:
        """Return its output so far; it must be running."""
        assert self.command is not None
        assert not self.command.exited, self.command.output()
        return self.command.output()[0]

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Return the response of Prefect's API."""
        return request(method, f"{self.prefect}/api{path}", body)

    def deployments(self) -> dict[str, Any]:
        """Return the registered deployments by name."""
        return {one["name"]: one for one in self.request("POST", "/deployments/filter", {})}

    def run(self, deployment: str, settings: object) -> str:
        """Run a deployment as its page in the UI does; return the id of the flow run."""
        path = f"/deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        return str(self.request("POST", path, {"parameters": {"settings": settings}})["id"])

    def runs(self, deployment: str) -> list[Any]:
        """Return the started flow runs of a deployment, in the order of their start."""
        query = {"deployments": {"id": {"any_": [self.deployments()[deployment]["id"]]}}}
        found = self.request("POST", "/flow_runs/filter", {**query, "sort": "START_TIME_ASC"})
        return [run for run in found if run["start_time"]]

    def flow_run(self, flow_run_id: str) -> Any:
        return self.request("GET", f"/flow_runs/{flow_run_id}")

    def state(self, flow_run_id: str) -> str:
        return str(self.flow_run(flow_run_id)["state_name"])

    def switch(self, deployment: str, **values: object) -> None:
        """Change the schedule of a deployment, as the switch and the form of its page do."""
        found = self.deployments()[deployment]
        self.request("PATCH", f"/deployments/{found['id']}/schedules/{found['schedules'][0]['id']}", values)

    def scheduled(self, deployment: str) -> list[Any]:
        """Return the flow runs of a deployment that its schedule has planned, executed ones too, by time."""
        query = {"deployments": {"id": {"any_": [self.deployments()[deployment]["id"]]}}}
        found = self.request("POST", "/flow_runs/filter", {**query, "sort": "EXPECTED_START_TIME_ASC"})
        return [run for run in found if run["auto_scheduled"]]

    def events(self, name: str, **payload: object) -> list[Any]:
        """Return the events of this name whose payload contains the given items."""
        page = self.request("POST", "/events/filter", {"filter": {"event": {"name": [name]}}, "limit": 50})
        return [event for event in page["events"] if payload.items() <= event["payload"].items()]

    def trained_by(self, flow_run_id: str) -> str | None:
        """Return the MLflow run that a flow run trains; None if it has not started yet."""
        found = self.store.runs_tagged("ramreel.flow_run_id", flow_run_id)
        return found[0] if found else None
