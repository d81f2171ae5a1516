"""Servers listen on loopback only and send no telemetry; passwords are stored nowhere."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import sqlite3
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import pytest
from helpers.approaches import settings_file
from helpers.processes import Command, started, wait_until
from helpers.scale import takes_minutes
from helpers.servers import free_port, mlflow_server, prefect_server, running

from tasks.store import open_store

PASSWORD = "correct-horse-battery-staple"  # noqa: S105
pytestmark = takes_minutes


def train_arguments(folder: Path, steps: int = 1024) -> list[str]:
    approach = ["--settings", str(settings_file(folder)), "--n-envs", "1", "--workers", "1"]
    return ["train", "ALE/Breakout-v5", *approach, "--steps", str(steps), "--checkpoint-every", "512"]


def listening(command: Command) -> set[str]:
    """Return the addresses that the command and its descendants listen on."""
    sockets: set[str] = set()
    for pid in command.family():
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    sockets.update(re.findall(r"^socket:\[(\d+)\]$", str(descriptor.readlink())))
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == "0A" and rest[5] in sockets:
                found.add(str(address_of(local.partition(":")[0])))
    return found


def address_of(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    # The kernel writes words of four bytes in native byte order.
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    return ipaddress.ip_address(b"".join(words))


def test_socket_listening_on_all_addresses_would_be_found() -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere, socket.create_server(("127.0.0.1", 0)):  # noqa: S104
        rows = [row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        (local,) = [row for row in rows if row.endswith(f":{everywhere.getsockname()[1]:04X}")]
        assert address_of(local.partition(":")[0]) == ipaddress.ip_address("0.0.0.0")  # noqa: S104


def test_up_listens_on_loopback_only_and_sends_no_telemetry(home: Path) -> None:
    prefect, mlflow = free_port(), free_port()
    ports = {"prefect": prefect, "mlflow": mlflow, "gallery": free_port()}
    with started(["up", *(f"--{server}-port={port}" for server, port in ports.items())], home) as up:
        assert wait_until(lambda: up.exited or "Ctrl-C" in up.output()[0])
        assert not up.exited, up.output()
        assert listening(up) == {"127.0.0.1"}
        with urllib.request.urlopen(f"http://127.0.0.1:{prefect}/api/admin/settings", timeout=30) as answer:
            assert json.load(answer)["server"]["analytics_enabled"] is False
        for pid in up.family():
            with suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                assert pid == up.process.pid or b"DO_NOT_TRACK=true" in environment or b"DO_NOT_TRACK=1" in environment


def test_command_listens_on_loopback_only(home: Path, tmp_path: Path) -> None:
    addresses: set[str] = set()
    with started([*train_arguments(tmp_path), "--quiet"], home) as command:
        wait_until(lambda: command.exited or addresses.update(listening(command)), every=0.2)
        assert command.wait()[0] == 0
    assert addresses == {"127.0.0.1"}


@pytest.fixture
def receiver() -> str:
    """The address of an unreachable notification receiver, with a password."""
    return f"json://somebody:{PASSWORD}@127.0.0.1:{free_port()}/{PASSWORD}"


def test_passwords_are_in_no_log_no_run_and_no_parameter(
    home: Path, tmp_path: Path, migrated: Path, receiver: str
) -> None:
    with (
        running(mlflow_server(tmp_path / "mlflow", migrated)) as mlflow,
        running(prefect_server(tmp_path / "prefect")) as prefect,
    ):
        address = mlflow.address.replace("//", f"//somebody:{PASSWORD}@")
        settings = {"RAMREEL_NOTIFY": receiver, "PREFECT_API_URL": prefect.address}
        commands = [
            [*train_arguments(tmp_path), "--name", "one"],
            [*train_arguments(tmp_path), "--name", "other"],
            ["record", "latest", "--episodes", "1", "--plain"],
            ["compare", "one", "other"],
        ]
        for arguments in commands:
            with started([*arguments, "--tracking-uri", address, "--json"], home, settings) as command:
                code, out, errors = command.wait()
            assert code == 0, errors
            assert PASSWORD not in out + errors
        with started(["train", "ALE/Breakout-v5", "--name", " ", "--tracking-uri", address], home) as command:
            assert command.wait()[0] == 2
            assert PASSWORD not in "".join(command.output())
    with closing(sqlite3.connect(tmp_path / "mlflow/mlflow.db")) as store:
        stored_commands = [row[0] for row in store.execute("SELECT value FROM tags WHERE key = 'ramreel.command'")]
    assert len(stored_commands) == 3
    assert all("--tracking-uri http://127.0.0.1" in command for command in stored_commands)
    files = [path for folder in (home, tmp_path / "mlflow", tmp_path / "prefect") for path in folder.rglob("*")]
    containing = [path for path in files if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert containing == []


@pytest.mark.parametrize("stage", ["started", "checkpoint saved"])
def test_failure_of_the_store_logs_no_password(stage: str, home: Path, tmp_path: Path, migrated: Path) -> None:
    with (
        running(mlflow_server(tmp_path / "mlflow", migrated)) as mlflow,
        running(prefect_server(tmp_path / "prefect")) as prefect,
    ):
        address = mlflow.address.replace("//", f"//somebody:{PASSWORD}@")
        impatient = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "PREFECT_API_URL": prefect.address}
        endless = [*train_arguments(tmp_path, steps=100_000_000), "--tracking-uri", address]
        with started(endless, home, impatient) as command:
            store = open_store(address)
            assert wait_until(lambda: store.runs_tagged("ramreel.kind", "training"))
            run_id = store.resolve_run("latest")
            assert wait_until(lambda: stage == "started" or store.list_checkpoints(run_id))
            mlflow.kill()
            code, out, errors = command.wait()
    assert code == 1, errors
    assert "API request to http://127.0.0.1" in errors
    assert PASSWORD not in out + errors
    with closing(sqlite3.connect(tmp_path / "prefect/prefect.db")) as database:
        logged = "\n".join(row[0] for row in database.execute("SELECT message FROM log"))
    assert "Traceback" in logged
    assert "StoreError" in logged
    assert PASSWORD not in logged
