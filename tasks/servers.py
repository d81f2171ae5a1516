"""Prefect's and MLflow's own servers over the embedded store, on loopback, for looking at it in a browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tasks.store import Store

_HOST = "127.0.0.1"
_START_SECONDS = 120


class PortTakenError(RuntimeError):
    """Something else listens there; the message names the option that takes another port."""


class ServerError(RuntimeError):
    """A server did not start, or ended."""


def serve(store: Store, *, prefect_port: int, mlflow_port: int, say: Callable[[str], None]) -> None:
    """Run both servers until Ctrl-C or until one of them ends.

    Raises:
        PortTakenError: a port is taken; nothing was started.
        ServerError: a server did not start, or ended by itself.
    """
    for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        _check_free(port, option)
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)]
    with ExitStack() as running:
        servers = {
            "Prefect": (running.enter_context(_Server(prefect)), prefect_port),
            "MLflow": (running.enter_context(_Server(store.server_command(_HOST, mlflow_port))), mlflow_port),
        }
        for name, (server, port) in servers.items():
            _wait_until_it_listens(name, server, port)
            say(f"{name}: http://{_HOST}:{port}")
        say("Ctrl-C stops both.")
        _wait_for_the_end({name: server for name, (server, _) in servers.items()})


class _Server:
    """A server in a process group of its own, ended with the block."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command

    def __enter__(self) -> _Server:
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(timeout=10)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def _check_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            raise PortTakenError(f"port {port} is taken: choose another with {option}") from None


def _wait_until_it_listens(name: str, server: _Server, port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise ServerError(f"{name}'s server ended with exit code {server.process.returncode} before it answered")
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
        time.sleep(0.2)
    raise ServerError(f"{name}'s server did not answer within {_START_SECONDS} seconds")


def _wait_for_the_end(servers: dict[str, _Server]) -> None:
    while True:
        for name, server in servers.items():
            if server.process.poll() is not None:
                raise ServerError(f"{name}'s server ended with exit code {server.process.returncode}")
        time.sleep(0.5)
