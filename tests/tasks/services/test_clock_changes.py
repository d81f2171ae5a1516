"""What becomes of Prefect's windows and flow runs when the clock of the machine was set."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from helpers.processes import ROOT, wait_until
from helpers.servers import Server, prefect_server, running

from tasks.execution.endpoints import prefect_database
from tasks.services import servers
from tasks.services.clock_changes import WallClock, correct_flow_runs, describe_change, renew_windows
from tasks.services.server_processes import PREFECT_SERVER, ServerProcess

HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
DETECT, *_ = yaml.safe_load((ROOT / "deployments/automations.yaml").read_text("utf-8"))["automations"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(home))
        patch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", prefect_database(home))
        with running(prefect_server(home / "mlruns")) as server:
            yield server


@pytest.fixture(scope="module")
def flow(server: Server) -> str:
    return str(server.post("/flows/", {"name": "any"})["id"])


def flow_run(server: Server, flow: str, state: dict[str, Any]) -> str:
    run = server.post("/flow_runs/", {"flow_id": flow})["id"]
    server.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})
    return str(run)


def read(server: Server, run: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.address}/flow_runs/{run}", trust_env=False, timeout=60).json()
    return found


def scheduled(at: datetime) -> dict[str, Any]:
    return {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": at.isoformat()}}


def test_only_a_clock_that_was_set_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, now = WallClock(), time.time
    assert clock.set_by() == 0
    for by, noticed in ((2, 0), (86_402, 86_400), (-3598, -90_000)):
        monkeypatch.setattr(time, "time", lambda by=by: now() + by)
        assert round(clock.set_by()) == noticed
        assert clock.set_by() == 0
    assert describe_change(86_400.2).startswith("The clock jumped forward by 1 day, 0:00:00;")
    assert describe_change(-90.0).startswith("The clock jumped back by 0:01:30;")


@pytest.mark.parametrize("restarted", [False, True])
def test_flow_runs_taken_for_crashed_when_the_clock_was_set_forward_are_running(
    server: Server, flow: str, restarted: bool
) -> None:
    """A slow server may have been about to restart them."""
    messages = (DETECT["actions"][0]["message"], "killed")
    runs = [flow_run(server, flow, {"type": "RUNNING"}) for _ in messages]
    for run, message in zip(runs, messages, strict=True):
        states = [{"type": "CRASHED", "name": "Crashed", "message": message}]
        states += [{"type": "SCHEDULED", "name": "AwaitingRetry"}] if restarted else []
        for state in states:
            server.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})
    crashed = "AwaitingRetry" if restarted else "Crashed"
    correct_flow_runs(server.address, 86_400, datetime.now(UTC) + HOUR)
    assert [read(server, run)["state_name"] for run in runs] == [crashed, crashed], "before the clock was set"
    correct_flow_runs(server.address, 86_400, datetime.now(UTC))
    assert [read(server, run)["state_name"] for run in runs] == ["Running", crashed]


def test_what_was_due_before_the_clock_was_set_back_is_due_and_schedules_are_planned_again(
    server: Server, flow: str
) -> None:
    now = datetime.now(UTC)
    due, later = (flow_run(server, flow, scheduled(now + hours * HOUR)) for hours in (1, 30))
    schedule = {"interval": 3600.0, "anchor_date": (now + HOUR / 2).isoformat()}
    deployment = server.post(
        "/deployments/", {"name": "hourly", "flow_id": flow, "schedules": [{"schedule": schedule, "active": True}]}
    )["id"]
    mine = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
    # As if it had planned them a day later.
    server.post(
        f"/deployments/{deployment}/schedule",
        {"start_time": (now + 24 * HOUR).isoformat(), "end_time": (now + 27 * HOUR).isoformat()},
    )
    correct_flow_runs(server.address, -2 * 3600, now)
    assert datetime.fromisoformat(read(server, due)["next_scheduled_start_time"]) == now
    assert read(server, due)["state_name"] == "Late"
    assert datetime.fromisoformat(read(server, later)["next_scheduled_start_time"]) == now + 30 * HOUR

    def planned() -> list[datetime]:
        found = server.post("/flow_runs/filter", mine)
        return [datetime.fromisoformat(run["expected_start_time"]) for run in found]

    assert wait_until(lambda: planned() and planned()[0] < now + 2 * HOUR, every=0.5)


def test_windows_start_anew_while_the_server_is_away(server: Server, home: Path) -> None:
    server.post("/automations/", DETECT)
    resource = {"prefect.resource.id": f"prefect.flow-run.{uuid4()}"}
    tag = {"prefect.resource.id": "prefect.tag.ramreel", "prefect.resource.role": "tag"}
    heartbeat = {"id": str(uuid4()), "event": "prefect.flow-run.heartbeat", "resource": resource, "related": [tag]}
    occurred = datetime.now(UTC)
    httpx.post(
        f"{server.address}/events", json=[{**heartbeat, "occurred": occurred.isoformat()}], trust_env=False, timeout=60
    ).raise_for_status()

    def windows() -> list[tuple[datetime, datetime]]:
        with closing(sqlite3.connect(home / "mlruns/prefect.db")) as database:
            rows = database.execute('SELECT start, "end" FROM automation_bucket').fetchall()
        return [(datetime.fromisoformat(f"{start}Z"), datetime.fromisoformat(f"{end}Z")) for start, end in rows]

    assert wait_until(windows)
    server.kill()
    ((opened, closed),) = windows()
    for day in ("-1 day", "+2 days"):
        with closing(sqlite3.connect(home / "mlruns/prefect.db")) as database, database:
            database.execute(
                'UPDATE automation_bucket SET start = datetime(start, :day), "end" = datetime("end", :day)',
                {"day": day},
            )
        before = datetime.now(UTC)
        renew_windows()
        ((start, end),) = windows()
        assert before - SECOND / 1000 <= start <= datetime.now(UTC)
        assert abs(end - start - (closed - opened)) < SECOND
    server.start()
    assert windows() == [(start, end)], "it is read, and has not expired"


def test_server_is_started_again_with_its_flow_runs(server: Server, flow: str) -> None:
    run = flow_run(server, flow, {"type": "RUNNING"})
    server.kill()
    process = ServerProcess(PREFECT_SERVER, server.command, server.environment, health=server.address + server.health)
    with ExitStack() as stack:
        started = servers._Server.start(process, stack)
        started.wait_until_healthy()
        before = started.child.process.pid
        servers._follow_clock([started], server.address, 86_400)
        assert started.child.process.pid != before
        started.child.raise_if_exited()
        assert read(server, run)["state_name"] == "Running"
