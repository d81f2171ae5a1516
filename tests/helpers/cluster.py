"""A cluster: machines for PostgreSQL, Redis, S3 and `ramreel up`, and three that joined it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from helpers.backends import BUCKET, S3_KEYS
from helpers.machines import INSIDE, Machine, build_bridge, start_machine
from helpers.postgresql import server_programs
from helpers.processes import wait_until
from tasks.services.deployments import deployments
from tasks.store import Store, open_store

PASSWORD = "correct-horse-battery-staple"  # noqa: S105
READY = "Press Ctrl-C to stop."
LOGIN = {
    "PREFECT_API_AUTH_STRING": f"lab:{PASSWORD}",
    "MLFLOW_TRACKING_USERNAME": "admin",
    "MLFLOW_TRACKING_PASSWORD": PASSWORD,
}
ENDED = ("Completed", "Failed", "Cancelled")
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
_POSTGRESQL = """\
set -e
echo "$PGPASSWORD" > password
initdb --pgdata data --username lab --pwfile password --auth scram-sha-256 --no-sync
echo "host all lab 10.77.0.0/24 scram-sha-256" >> data/pg_hba.conf
echo "CREATE DATABASE ramreel" | postgres --single -D data postgres
exec postgres -D data -c listen_addresses='*' -c unix_socket_directories= -c fsync=off
"""
_S3 = f"""\
import os, threading, boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("0.0.0.0", 9000)
server.start()
boto3.client("s3", endpoint_url="http://127.0.0.1:9000").create_bucket(Bucket="{BUCKET}")
print("ready", flush=True)
threading.Event().wait()
"""
TIMEOUT_SECONDS = 600


@dataclass
class Cluster:
    """All machines, and what a laptop does with them.

    Attributes:
        machines: running machines by name.
        table: what happened, for docs: fault, outcome, seconds.
    """

    folder: Path
    machines: dict[str, Machine]
    client: SyncPrefectClient
    store: Store
    table: list[tuple[str, str, float]] = field(default_factory=list)

    def join(self, number: int) -> Machine:
        """Start a machine that joins the cluster."""
        command = [sys.executable, "-m", "flows", "worker", "--server", self.machines["server"].address]
        name = f"box{number}"
        study = {"RAMREEL_STUDY_DATABASE": _database(self.machines["postgresql"])}
        self.machines[name] = start_machine(self.folder, name, 10 + number, command, LOGIN | QUIET | study)
        return self.machines[name]

    @property
    def laptop(self) -> dict[str, str]:
        """Environment of a command on this machine that uses both servers."""
        server = self.machines["server"].address
        return {"PREFECT_API_URL": f"http://{server}:4200/api", "MLFLOW_TRACKING_URI": f"http://{server}:5000"}

    def database(self, schema: str) -> str:
        """Return the URI of the database, with a schema in which tables are found."""
        return f"{_database(self.machines['postgresql'])}?options=-csearch_path={schema}"

    def run(self, deployment: str, settings: dict[str, object]) -> UUID:
        """Start a flow run of a deployment."""
        found = deployments(self.client)[deployment]
        return self.client.create_flow_run_from_deployment(found.id, parameters={"settings": settings}).id

    def flow_run(self, flow_run: UUID) -> FlowRun:
        return self.client.read_flow_run(flow_run)

    def box_of(self, flow_run: UUID) -> Machine:
        """Return the machine that executes a flow run."""
        return self.machines[str(self.flow_run(flow_run).labels["prefect.worker.name"]).split()[0]]

    def children(self, deployment: str, parent: UUID) -> list[FlowRun]:
        """Return the child runs of a parent."""
        return self.client.read_flow_runs(
            deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [deployment]}}),
            flow_run_filter=FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [parent]}}),
        )

    def ends(self, flow_run: UUID) -> str:
        """Wait until a flow run has ended, and return its state."""
        assert eventually(lambda: self.state(flow_run) in ENDED), self.state(flow_run)
        return self.state(flow_run)

    def trained_by(self, flow_run: UUID) -> str | None:
        """Return the MLflow run of a training flow run."""
        return next(iter(self.store.runs_tagged("ramreel.root_flow_run_id", str(flow_run))), None)

    def steps(self, flow_run: UUID) -> list[int]:
        """Return the steps of the checkpoints that a training flow run has stored."""
        run_id = self.trained_by(flow_run)
        return [one.step for one in self.store.list_checkpoints(run_id)] if run_id else []

    def digest(self, flow_run: UUID) -> str:
        """Return the digest of the last checkpoint of a training flow run."""
        run_id = self.trained_by(flow_run)
        assert run_id
        return self.store.list_checkpoints(run_id)[-1].digest

    def state(self, flow_run: UUID) -> str:
        return str(self.flow_run(flow_run).state_name)

    @contextmanager
    def timed(self, fault: str, outcome: str) -> Iterator[None]:
        """Add a row to the table with the seconds that the block took."""
        began = time.monotonic()
        yield
        self.table.append((fault, outcome, time.monotonic() - began))


def _database(postgresql: Machine) -> str:
    return f"postgresql+psycopg2://lab:{PASSWORD}@{postgresql.address}/ramreel"


def eventually(condition: Any) -> bool:
    def holds() -> bool:
        # Servers are taken away on purpose.
        with suppress(Exception):
            return bool(condition())
        return False

    return wait_until(holds, TIMEOUT_SECONDS, every=0.5)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Start all machines; skip the test where namespaces or packages are missing."""
    if INSIDE not in os.environ:
        pytest.skip("`make cluster` runs these tests, on a bridge of their own")

    programs = server_programs()
    if programs is None or not Path("/usr/bin/redis-server").exists():
        pytest.skip("PostgreSQL or Redis is not installed")
    for module in ("moto", "prefect_redis", "flask_wtf", "boto3"):
        pytest.importorskip(module)
    build_bridge()
    machines: dict[str, Machine] = {}

    def start(name: str, number: int, command: list[str], environment: dict[str, str]) -> None:
        machines[name] = start_machine(folder, name, number, command, environment | QUIET)

    try:
        with_programs = {"PGPASSWORD": PASSWORD}
        start("postgresql", 2, ["sh", "-c", f"PATH={programs}:$PATH\n{_POSTGRESQL}"], with_programs)
        start("redis", 3, ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""], {})  # noqa: S104
        start("s3", 4, [sys.executable, "-c", _S3], S3_KEYS)
        ready = {"postgresql": "is ready to accept", "redis": "Ready to accept", "s3": "ready"}
        for name, text in ready.items():
            assert eventually(lambda name=name, text=text: text in machines[name].output), machines[name].output
        environment = {
            **S3_KEYS,
            "MLFLOW_S3_ENDPOINT_URL": f"http://{machines['s3'].address}:9000",
            "RAMREEL_DATABASE": _database(machines["postgresql"]),
            "RAMREEL_REDIS": f"redis://{machines['redis'].address}",
            "PREFECT_SERVER_API_AUTH_STRING": LOGIN["PREFECT_API_AUTH_STRING"],
            "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        }
        up = [sys.executable, "-m", "flows", "up", "--host", "10.77.0.1", "--artifacts", f"s3://{BUCKET}/runs"]
        start("server", 1, up, environment)
        server = machines["server"]
        assert eventually(lambda: server.exited or READY in server.output)
        assert READY in server.output, server.output
        with pytest.MonkeyPatch.context() as patch:
            for name, value in LOGIN.items():
                patch.setenv(name, value)
            settings = {
                PREFECT_API_URL: f"http://{server.address}:4200/api",
                PREFECT_API_AUTH_STRING: LOGIN["PREFECT_API_AUTH_STRING"],
            }
            with temporary_settings(settings), get_client(sync_client=True) as client:
                found = Cluster(folder, machines, client, open_store(f"http://{server.address}:5000"))
                # Each test starts what it needs: on two cores, recording every checkpoint would take most of the time.
                for automation in ("ramreel: record each checkpoint", "ramreel: follow up each training run"):
                    client.pause_automation(client.read_automations_by_name(automation)[0].id)
                for number in (1, 2, 3):
                    box = found.join(number)
                    assert eventually(lambda box=box: box.exited or READY in box.output)
                    assert READY in box.output, box.output
                yield found
    finally:
        for machine in machines.values():
            machine.kill()
