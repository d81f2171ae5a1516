"""`ramreel up`: its servers answer, and no process is left however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.services.network_access import Access
from tasks.services.server_processes import Ports, tracking_uri_of_workers
from tasks.services.servers import PortError, serve
from tasks.store import Store

# If pytest itself runs in the background, its child processes ignore Ctrl-C.
UP = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.__main__ import main
main()
"""
TIMEOUT_SECONDS = 120


def free_ports() -> tuple[int, int, int]:
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        prefect, mlflow, gallery = (one.getsockname()[1] for one in sockets)
        return prefect, mlflow, gallery


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@dataclass(frozen=True)
class Up:
    """A `ramreel up` whose servers are running."""

    process: subprocess.Popen[str]
    output: list[str]
    prefect: str
    mlflow: str
    gallery: str

    def family(self) -> dict[int, str]:
        """Return the command lines of its descendants by process id."""
        rows = [row.split(None, 2) for row in ps("pid=,ppid=,command=").splitlines()]
        found: dict[int, str] = {}
        parents = {self.process.pid}
        while parents:
            born = {int(pid): command for pid, parent, command in rows if int(parent) in parents}
            found |= born
            parents = set(born)
        return found


def ps(columns: str) -> str:
    return subprocess.run(["ps", "-A", "-o", columns], capture_output=True, text=True, check=True).stdout


def alive(pids: set[int]) -> set[int]:
    rows = [row.split() for row in ps("pid=,stat=").splitlines()]
    return {int(pid) for pid, state in rows if not state.startswith("Z")} & pids


def wait_until(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as response:
        return str(response.read().decode())


@pytest.fixture(scope="module")
def first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home; the databases created by the first start are reused."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def up(first_home: Path) -> Iterator[Up]:
    prefect, mlflow, gallery = free_ports()
    ports = ["--prefect-port", str(prefect), "--mlflow-port", str(mlflow), "--gallery-port", str(gallery)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    with ExitStack() as ending:
        process = ending.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", UP, "up", *ports],
                env=environment | {"RAMREEL_HOME": str(first_home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        ending.callback(process.kill)
        assert process.stdout is not None
        output = [process.stdout.readline() for _ in range(4)]
        yield Up(process, output, *(f"http://127.0.0.1:{port}" for port in (prefect, mlflow, gallery)))


def ctrl_c(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)


def kill(up: Up) -> None:
    up.process.kill()


def kill_mlflow(up: Up) -> None:
    (server,) = (pid for pid, command in up.family().items() if "mlflow server" in command)
    os.kill(server, signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "exit_code", "reason"),
    [
        (ctrl_c, 130, ""),
        (kill, -signal.SIGKILL, ""),
        (kill_mlflow, 1, "ramreel: MLflow's server ended with exit code -9"),
    ],
)
def test_both_servers_answer_and_end_with_the_command(
    up: Up, end: Callable[[Up], None], exit_code: int, reason: str
) -> None:
    assert up.output[0].split() == ["Gallery:", up.gallery]
    assert up.output[1].split() == ["Prefect:", up.prefect]
    assert up.output[2].split()[:2] == ["MLflow:", up.mlflow]
    assert wait_until(lambda: "No runs yet" in get(up.gallery))
    assert get(f"{up.prefect}/api/health") == "true"
    assert get(f"{up.mlflow}/health") == "OK"
    # The UI sends its requests to this URL.
    assert json.loads(get(f"{up.prefect}/ui-settings"))["api_url"] == f"{up.prefect}/api"
    family = up.family()
    assert len(family) >= 4

    end(up)
    _, errors = up.process.communicate(timeout=TIMEOUT_SECONDS)
    assert up.process.returncode == exit_code
    assert reason in errors
    assert "Traceback" not in errors
    assert wait_until(lambda: not alive(set(family)))


def test_second_ctrl_c_kills_a_worker_that_does_not_exit(up: Up) -> None:
    assert wait_until(lambda: " ".join(up.family().values()).count("prefect worker") == 3)
    family = up.family()
    worker, *_ = (pid for pid, command in family.items() if "prefect worker" in command)
    try:
        # A stopped process handles no signal but SIGKILL.
        os.kill(worker, signal.SIGSTOP)
        assert wait_until(lambda: status(worker, "State") == "T")
        ctrl_c(up)
        assert wait_until(lambda: int(status(worker, "ShdPnd"), 16) & 1 << signal.SIGTERM - 1)
        ctrl_c(up)
        _, errors = up.process.communicate(timeout=TIMEOUT_SECONDS)
        assert up.process.returncode == 130
        assert "Traceback" not in errors
        assert wait_until(lambda: not alive(set(family)))
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def status(pid: int, field: str) -> str:
    """Return a field of /proc/PID/status: the state, or the pending signals in hexadecimal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{field}:"))


@pytest.mark.parametrize("option", ["--prefect-port", "--mlflow-port", "--gallery-port"])
def test_port_in_use_is_refused_before_anything_starts(store: Store, option: str) -> None:
    lines: list[str] = []
    with taken_port() as taken:
        ports = dict(zip(("--prefect-port", "--mlflow-port", "--gallery-port"), free_ports(), strict=True))
        chosen = Ports(*(ports | {option: taken}).values())
        with pytest.raises(PortError, match=rf"port {taken} is in use .*: choose another with {option}"):
            serve(store, chosen, Access(), lines.append, lines.append)
    assert lines == []


@pytest.mark.parametrize("port", [0, 70_000])
def test_invalid_port_is_refused(store: Store, port: int) -> None:
    with pytest.raises(PortError, match=f"--mlflow-port must be a port from 1 to 65535, got {port}"):
        serve(store, Ports(free_ports()[0], port, free_ports()[1]), Access(), print, print)


def test_servers_need_different_ports(store: Store) -> None:
    port, gallery, _ = free_ports()
    with pytest.raises(PortError, match=f"port {port} is Prefect's already"):
        serve(store, Ports(port, port, gallery), Access(), print, print)


@pytest.mark.parametrize(("host", "uri"), [("127.0.0.1", None), ("0.0.0.0", "http://127.0.0.1:5001")])  # noqa: S104
def test_workers_read_the_runs_of_machines_that_join(store: Store, host: str, uri: str | None) -> None:
    found = tracking_uri_of_workers(store, Access(host), Ports(4200, 5001, 4300))
    assert found == (uri or store.address.uri)
