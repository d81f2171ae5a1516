"""`ramreel up` as it is typed: real servers that answer, and nothing left of them however it ends."""

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

from tasks.services.servers import PortTakenError, serve
from tasks.store import Store

# Where pytest itself runs in the background, Ctrl-C is ignored by whatever it starts.
UP = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.__main__ import main
main()
"""
PATIENCE = 120


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@dataclass(frozen=True)
class Up:
    """A `ramreel up` that has said that both servers are there."""

    process: subprocess.Popen[str]
    said: list[str]
    prefect: str
    mlflow: str

    def family(self) -> dict[int, str]:
        """Everything that descends from it: process id → command."""
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


def wait_until(true: Callable[[], object]) -> bool:
    end = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(true())


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def first_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty at first; the databases that the first start makes are used again by the others."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def up(first_home: Path) -> Iterator[Up]:
    prefect, mlflow = free_ports()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    with ExitStack() as ending:
        process = ending.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", UP, "up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)],
                env=kept | {"RAMREEL_HOME": str(first_home)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        ending.callback(process.kill)
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        yield Up(process, said, f"http://127.0.0.1:{prefect}", f"http://127.0.0.1:{mlflow}")


def ctrl_c(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)


def kill_at_once(up: Up) -> None:
    up.process.kill()


def kill_mlflow(up: Up) -> None:
    (server,) = (pid for pid, command in up.family().items() if "mlflow server" in command)
    os.kill(server, signal.SIGKILL)


@pytest.mark.parametrize(
    ("end", "exit_code", "reason"),
    [
        (ctrl_c, 130, ""),
        (kill_at_once, -signal.SIGKILL, ""),
        (kill_mlflow, 1, "ramreel: MLflow's server ended with exit code -9"),
    ],
)
def test_both_servers_answer_and_end_with_it(up: Up, end: Callable[[Up], None], exit_code: int, reason: str) -> None:
    assert up.said[0].split() == ["Prefect:", up.prefect]
    assert up.said[1].split()[:2] == ["MLflow:", up.mlflow]
    assert get(f"{up.prefect}/api/health") == "true"
    assert get(f"{up.mlflow}/health") == "OK"
    # Prefect's page asks this address for all that it shows.
    assert json.loads(get(f"{up.prefect}/ui-settings"))["api_url"] == f"{up.prefect}/api"
    family = up.family()
    assert len(family) >= 4

    end(up)
    _, errors = up.process.communicate(timeout=PATIENCE)
    assert up.process.returncode == exit_code
    assert reason in errors
    assert "Traceback" not in errors
    assert wait_until(lambda: not alive(set(family)))


def test_a_second_ctrl_c_ends_a_worker_that_does_not_end_by_itself(up: Up) -> None:
    assert wait_until(lambda: "prefect worker" in " ".join(up.family().values()))
    family = up.family()
    (worker,) = (pid for pid, command in family.items() if "prefect worker" in command)
    try:
        # A process that is stopped hears of no signal but SIGKILL.
        os.kill(worker, signal.SIGSTOP)
        assert wait_until(lambda: status(worker, "State") == "T")
        ctrl_c(up)
        assert wait_until(lambda: int(status(worker, "ShdPnd"), 16) & 1 << signal.SIGTERM - 1)
        ctrl_c(up)
        _, errors = up.process.communicate(timeout=PATIENCE)
        assert up.process.returncode == 130
        assert "Traceback" not in errors
        assert wait_until(lambda: not alive(set(family)))
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


def status(pid: int, of: str) -> str:
    """What Linux says of a process: its state; in hexadecimal the signals that wait for it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith(f"{of}:"))


@pytest.mark.parametrize("option", ["--prefect-port", "--mlflow-port"])
def test_a_taken_port_is_told_before_anything_starts(store: Store, option: str) -> None:
    said: list[str] = []
    with taken_port() as taken:
        prefect, mlflow = free_ports()
        if option == "--prefect-port":
            prefect = taken
        else:
            mlflow = taken
        with pytest.raises(PortTakenError, match=rf"port {taken} is taken .*: choose another with {option}"):
            serve(store, prefect_port=prefect, mlflow_port=mlflow, say=said.append)
    assert said == []


@pytest.mark.parametrize("port", [0, 70_000])
def test_a_port_that_is_none_is_told(store: Store, port: int) -> None:
    with pytest.raises(PortTakenError, match=f"--mlflow-port takes a port from 1 to 65535, got {port}"):
        serve(store, prefect_port=free_ports()[0], mlflow_port=port, say=print)


def test_two_servers_want_two_ports(store: Store) -> None:
    port, _ = free_ports()
    with pytest.raises(PortTakenError, match=f"port {port} is Prefect's already"):
        serve(store, prefect_port=port, mlflow_port=port, say=print)
