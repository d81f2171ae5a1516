"""Prefect's and MLflow's own servers over the embedded store, on loopback, and a worker that runs what is due.

Whatever is started here ends with us.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tasks.arcade.errors import RamreelError
from tasks.execution.endpoints import Addresses, answers, told
from tasks.services.orphans import as_a_command, end_killed
from tasks.store import Store, find_home

_HOST = "127.0.0.1"
_START_SECONDS = 120
_END_SECONDS = 10
_WORKER_END_SECONDS = 40
_WORKER_SETTLED_SECONDS = 20

# Waits at a pipe whose other end only we hold: it closes even when we are killed and can clean up nothing.
_WATCHER = """
read -r _
kill -s TERM -- "$1"
for _ in $(seq "$2"); do
    sleep 1
    kill -s 0 -- "$1" || exit
done
kill -s KILL -- "$1"
"""


class PortTakenError(RamreelError):
    """A port cannot be had; the message names the option that takes another one."""


class ServerError(RamreelError):
    """A server did not start, or ended."""


def serve(store: Store, *, prefect_port: int, mlflow_port: int, say: Callable[[str], None]) -> None:
    """Run both servers and a worker until Ctrl-C or until a server ends; they end with this process, however it ends.

    What deployments/ declares is registered first. A worker that ends is started again.

    Raises:
        PortTakenError: a port is taken, or is none; nothing was started.
        ServerError: a server or the worker did not start, or a server ended by itself.
        StoreError: the store is a server already.
        DeployError: Prefect did not take the deployments.
    """
    for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        _check_free(port, option)
    if prefect_port == mlflow_port:
        raise PortTakenError(f"port {mlflow_port} is Prefect's already: choose another with --mlflow-port")
    at = Addresses(prefect=f"http://{_HOST}:{prefect_port}", mlflow=f"http://{_HOST}:{mlflow_port}")
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)]
    mlflow = store.server_command(_HOST, mlflow_port)
    with ExitStack() as running:
        servers = (
            running.enter_context(_process("Prefect's server", prefect, _prefect_settings(at.prefect))),
            running.enter_context(_process("MLflow's server", mlflow, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})),
        )
        servers[0].wait_until_healthy(f"{at.prefect}/api/health")
        say(f"Prefect: {at.prefect}")
        servers[1].wait_until_healthy(f"{at.mlflow}/health")
        say(f"MLflow: {at.mlflow} (choose Model training at the top left)")
        from tasks.services.deployments import POOL, register, start_again

        done = "registered" if register(at.api) else "as registered before"
        running.enter_context(told(store.address, at))
        say(f"Deployments: {done}; the worker of pool {POOL} runs what is scheduled")
        say("Ctrl-C stops all.")
        _work(servers, _worker_command(POOL), _worker_settings(store, at), partial(start_again, at.api), say)


def _work(
    servers: Sequence[_Process],
    command: Sequence[str],
    settings: Mapping[str, str],
    start_again: Callable[[], int],
    say: Callable[[str], None],
) -> None:
    """Keep a worker running while the servers do; what a killed one ran ends with it, and is started again."""
    while True:
        if lost := start_again():
            say(f"Flow runs that were cut off: {lost}; they are started again.")
        began = time.monotonic()
        # Its flow runs end first, and a training that is stopped keeps a last checkpoint.
        with _process("The worker", command, settings, patience=_WORKER_END_SECONDS) as worker:
            while worker.process.poll() is None:
                for server in servers:
                    server.check()
                time.sleep(0.5)
            if time.monotonic() - began < _WORKER_SETTLED_SECONDS:
                worker.check()
        say("The worker ended; another one is started.")


def _worker_command(pool: str) -> list[str]:
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]


def _worker_settings(store: Store, at: Addresses) -> dict[str, str]:
    return {
        # Deployments say `python`, and mean the one that has ramreel.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PREFECT_API_URL": at.api,
        "PREFECT_WORKER_QUERY_SECONDS": "3",
        # Flow runs work in a folder of their own, from which they would find no store.
        "RAMREEL_HOME": str(find_home()),
        "MLFLOW_TRACKING_URI": store.address.uri,
    }


def starts_its_own() -> bool:
    """Whether Prefect starts a server of its own: none is named, in the environment or in Prefect's profile."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    return not settings.api.url and settings.server.ephemeral.enabled


@contextmanager
def started_prefect(meanwhile: Callable[[], object]) -> Iterator[None]:
    """For a command's flow runs: have Prefect start its temporary server over its database, unless another one is set.

    Left to itself it starts one with the first flow, and leaves it running for ever when this process is killed.

    Args:
        meanwhile: done while the server starts.
    """
    if not starts_its_own():
        yield
        return
    from prefect.client.orchestration import get_client
    from prefect.server.api.server import SubprocessASGIServer

    watching = ExitStack()
    # What is registered first comes last: Prefect sends what it has to say, then stops its server.
    atexit.register(watching.close)

    class Watched(SubprocessASGIServer):
        def _run_uvicorn_command(self) -> subprocess.Popen[Any]:
            process = _temporary_server(self.port)
            watching.enter_context(_watched(process.pid, _END_SECONDS))
            meanwhile()
            return process

    # There is one for the whole process: flows find it running.
    Watched().start()
    with get_client(sync_client=True) as client:
        end_killed(client)
    with as_a_command():
        yield


def _temporary_server(port: int | None) -> subprocess.Popen[bytes]:
    """What Prefect itself would start, but in a process group of its own.

    Ctrl-C and `timeout` reach a command's whole group: a server that ended by it would hear no more how the flow run
    ended, which Prefect then tries for minutes to tell it.
    """
    import prefect
    from prefect.settings import get_current_settings

    # Where Prefect lies: else the working folder would come first in what the server imports.
    command = ["uvicorn", "--app-dir", str(prefect.__module_path__.parent), "--host", _HOST, "--port", str(port)]
    options = ["--log-level", "error", "--lifespan", "on", "--factory", "prefect.server.api.server:create_app"]
    flags = {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", *command, *options],
        env=os.environ | flags | get_current_settings().to_environment_variables(exclude_unset=True),
        start_new_session=True,
    )


def _prefect_settings(address: str) -> dict[str, str]:
    return {
        # The page asks this address for everything. By default it is that of port 4200, whatever port we listen on.
        "PREFECT_SERVER_UI_API_URL": f"{address}/api",
        # The page of its newer UI calls an analytics service, even where analytics are off.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # For so long it waits for late events before it believes that a run beats no more.
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "PT15S",
    }


def _check_free(port: int, option: str) -> None:
    if not 1 <= port <= 65535:
        raise PortTakenError(f"{option} takes a port from 1 to 65535, got {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise PortTakenError(f"port {port} is taken ({error.strerror}): choose another with {option}") from None


@contextmanager
def _process(
    name: str, command: Sequence[str], settings: Mapping[str, str], patience: int = _END_SECONDS
) -> Iterator[_Process]:
    """A process with all that it starts, ended with the block or with this process; killed where patience ends."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # A process group of its own: Ctrl-C does not reach it, and whatever it starts ends with it.
            start_new_session=True,
        )
        try:
            with _watched(-process.pid, patience):
                try:
                    yield _Process(name, process, errors)
                finally:
                    _ask_to_end(process, patience)
        finally:
            # Whatever is left, and at once where a second Ctrl-C cuts patience short.
            _kill(process)


@contextmanager
def _watched(target: int, patience: int) -> Iterator[None]:
    """However this process ends, that one ends too; a negative number is a process group's, as `kill` takes it."""
    watcher = subprocess.Popen(
        ["sh", "-c", _WATCHER, "sh", str(target), str(patience)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        watcher.kill()
        watcher.communicate()


def _ask_to_end(process: subprocess.Popen[bytes], patience: int) -> None:
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(patience)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_END_SECONDS)


@dataclass(frozen=True)
class _Process:
    name: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]

    def check(self) -> None:
        """Raises `ServerError` if the process has ended."""
        if self.process.poll() is not None:
            self.errors.seek(0)
            lines = self.errors.read().decode(errors="replace").splitlines()
            last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
            raise ServerError(f"{self.name} ended with exit code {self.process.returncode}: {last}")

    def wait_until_healthy(self, address: str) -> None:
        """Wait until the server says that it is well.

        Raises:
            ServerError: it ended, or says nothing of the kind for two minutes.
        """
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            self.check()
            if answers(address):
                return
            time.sleep(0.2)
        raise ServerError(f"{self.name} did not answer within {_START_SECONDS} seconds")
