"""A `ramreel up`, told and asked what a person tells and asks in both UIs: through both servers' public APIs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient

from helpers.processes import Command, started, wait_until
from helpers.servers import free_port
from tasks.store import Store, open_store

READY = "Ctrl-C stops all."


@dataclass
class Unattended:
    """Everything that runs by itself, over one home; `start` and `stop` as often as wanted."""

    home: Path
    notify: str
    prefect_port: int = field(default_factory=free_port)
    mlflow_port: int = field(default_factory=free_port)

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
        """Start it, and wait until it says that it is there; what it says."""
        ports = ["--prefect-port", str(self.prefect_port), "--mlflow-port", str(self.mlflow_port)]
        self.command = up = Command(["up", *ports], self.home, {"RAMREEL_NOTIFY": self.notify})
        assert wait_until(lambda: up.over or READY in up.said()[0], every=0.2)
        assert not up.over, up.said()
        return up.said()[0].splitlines()

    def stop(self) -> None:
        """Ctrl-C, after which nothing is left of it."""
        up = self.command
        assert up is not None
        up.ctrl_c()
        code, _, said = up.done()
        assert code == 130, said
        assert "Traceback" not in said
        assert wait_until(lambda: not up.family())
        up.end()

    def end(self) -> None:
        if self.command is not None:
            self.command.end()

    def ramreel(self, *words: str) -> Any:
        """What a command says with `--json`, typed in the same home."""
        with started([*words, "--json"], self.home) as command:
            code, out, said = command.done()
        assert code == 0, said
        return json.loads(out.splitlines()[-1])

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """What Prefect's API answers."""
        with SyncPrefectClient(f"{self.prefect}/api") as client:
            answer = client.request(method, path, json=body)
        return answer.json() if answer.content else None

    def deployments(self) -> dict[str, Any]:
        """What is registered, by name."""
        return {one["name"]: one for one in self.ask("POST", "/deployments/filter", {})}

    def run(self, deployment: str, settings: object) -> str:
        """What *Run* does on a deployment's page; the flow run's id."""
        path = f"/deployments/{self.deployments()[deployment]['id']}/create_flow_run"
        return str(self.ask("POST", path, {"parameters": {"settings": settings}})["id"])

    def runs(self, deployment: str) -> list[Any]:
        """A deployment's flow runs that have begun, the first one first."""
        which = {"deployments": {"id": {"any_": [self.deployments()[deployment]["id"]]}}}
        found = self.ask("POST", "/flow_runs/filter", {**which, "sort": "START_TIME_ASC"})
        return [run for run in found if run["start_time"]]

    def flow_run(self, flow_run_id: str) -> Any:
        return self.ask("GET", f"/flow_runs/{flow_run_id}")

    def state(self, flow_run_id: str) -> str:
        return str(self.flow_run(flow_run_id)["state_name"])

    def events(self, name: str, **said: object) -> list[Any]:
        """Prefect's events of a name whose payload says this."""
        page = self.ask("POST", "/events/filter", {"filter": {"event": {"name": [name]}}, "limit": 50})
        return [event for event in page["events"] if said.items() <= event["payload"].items()]

    def trained_by(self, flow_run_id: str) -> str | None:
        """The MLflow run that a flow run trains; none if it has not begun."""
        found = self.store.runs_tagged("ramreel.flow_run_id", flow_run_id)
        return found[0] if found else None
