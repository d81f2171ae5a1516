"""Prefect's and MLflow's servers over the embedded store, on loopback, and a worker that executes flow runs."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tasks.arcade.errors import RamreelError
from tasks.execution.endpoints import ServerAddresses, published
from tasks.services.child_processes import ChildProcess, child_process
from tasks.store import Store, find_home

_HOST = "127.0.0.1"
_WORKER_STOP_SECONDS = 40
_WORKER_STABLE_SECONDS = 20
"""A worker that exits sooner did not start properly."""


class PortError(RamreelError):
    """A port is invalid or in use; the message names the option that chooses another one."""


def serve(store: Store, *, prefect_port: int, mlflow_port: int, log: Callable[[str], None]) -> None:
    """Run both servers and a worker until Ctrl-C or until a server exits; they end with this process, even if killed.

    Registers the deployments first. A worker that exits is replaced.

    Raises:
        PortError: a port is invalid or in use; nothing was started.
        ServerError: a server or the worker did not start, or a server exited.
        StoreError: the store is a tracking server.
        DeploymentError: Prefect rejected the deployments.
    """
    for port, option in ((prefect_port, "--prefect-port"), (mlflow_port, "--mlflow-port")):
        _check_port(port, option)
    if prefect_port == mlflow_port:
        raise PortError(f"port {mlflow_port} is Prefect's already: choose another with --mlflow-port")
    servers = ServerAddresses(prefect=f"http://{_HOST}:{prefect_port}", mlflow=f"http://{_HOST}:{mlflow_port}")
    prefect = [sys.executable, "-m", "prefect", "server", "start", "--host", _HOST, "--port", str(prefect_port)]
    mlflow = store.server_command(_HOST, mlflow_port)
    with ExitStack() as stack:
        processes = (
            stack.enter_context(child_process("Prefect's server", prefect, _prefect_environment(servers.prefect))),
            stack.enter_context(
                child_process("MLflow's server", mlflow, {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
            ),
        )
        processes[0].wait_until_healthy(f"{servers.prefect}/api/health")
        log(f"Prefect: {servers.prefect}")
        processes[1].wait_until_healthy(f"{servers.mlflow}/health")
        log(f"MLflow: {servers.mlflow} (choose Model training at the top left)")
        from tasks.services.deployments import POOL, register, restart_interrupted_runs

        registration = "registered" if register(servers.api) else "unchanged"
        stack.enter_context(published(store.address, servers))
        log(f"Deployments: {registration}; a worker of pool {POOL} executes scheduled runs")
        log("Press Ctrl-C to stop.")
        restart = partial(restart_interrupted_runs, servers.api)
        _keep_worker_running(processes, _worker_command(POOL), _worker_environment(store, servers), restart, log)


def _keep_worker_running(
    servers: Sequence[ChildProcess],
    command: Sequence[str],
    environment: Mapping[str, str],
    restart_interrupted: Callable[[], int],
    log: Callable[[str], None],
) -> None:
    """Replace the worker whenever it exits; flow runs that a killed worker was executing are started again."""
    while True:
        if restarted := restart_interrupted():
            log(f"Interrupted flow runs, started again: {restarted}")
        start = time.monotonic()
        # Its flow runs end first, and a training run saves a last checkpoint.
        with child_process("The worker", command, environment, stop_seconds=_WORKER_STOP_SECONDS) as worker:
            while worker.process.poll() is None:
                for server in servers:
                    server.raise_if_exited()
                time.sleep(0.5)
            if time.monotonic() - start < _WORKER_STABLE_SECONDS:
                worker.raise_if_exited()
        log("The worker exited; starting another one.")


def _worker_command(pool: str) -> list[str]:
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]


def _worker_environment(store: Store, servers: ServerAddresses) -> dict[str, str]:
    return {
        # The `python` of the deployments' command is the one that has ramreel installed.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PREFECT_API_URL": servers.api,
        "PREFECT_WORKER_QUERY_SECONDS": "3",
        # Flow runs have a working directory of their own, from which they would not find the store.
        "RAMREEL_HOME": str(find_home()),
        "MLFLOW_TRACKING_URI": store.address.uri,
    }


def _prefect_environment(url: str) -> dict[str, str]:
    return {
        # The UI sends its requests to this URL; by default it is that of port 4200, whatever the server's port.
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
        # The newer UI calls an analytics service even with analytics disabled.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # How long Prefect waits for late events before it acts on missing heartbeats.
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "PT15S",
    }


def _check_port(port: int, option: str) -> None:
    if not 1 <= port <= 65535:
        raise PortError(f"{option} must be a port from 1 to 65535, got {port}")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise PortError(f"port {port} is in use ({error.strerror}): choose another with {option}") from None
