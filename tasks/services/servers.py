"""Prefect's and MLflow's servers over the embedded store, on loopback, and workers that execute flow runs."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade.errors import RamreelError
from tasks.execution.endpoints import ServerAddresses, published
from tasks.services.child_processes import ChildProcess, child_process, stop
from tasks.store import Store, find_home

_HOST = "127.0.0.1"
_WORKER_STOP_SECONDS = 40
_WORKER_STABLE_SECONDS = 20
"""A worker that exits sooner did not start properly."""


class PortError(RamreelError):
    """A port is invalid or in use; the message names the option that chooses another one."""


def serve(store: Store, *, prefect_port: int, mlflow_port: int, log: Callable[[str], None]) -> None:
    """Run both servers and workers until Ctrl-C or until a server exits; they end with this process, even if killed.

    Registers the deployments first. A worker that exits is replaced.

    Raises:
        PortError: a port is invalid or in use; nothing was started.
        ServerError: a server or a worker did not start, or a server exited.
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
        from tasks.services.deployments import POOL, register

        registration = "registered" if register(servers.api).changed else "unchanged"
        stack.enter_context(published(store.address, servers))
        log(f"Deployments: {registration}; workers of pool {POOL} execute scheduled runs")
        log("Press Ctrl-C to stop.")
        _keep_workers_running(processes, servers, _worker_environment(store, servers), log)


def _keep_workers_running(
    servers: Sequence[ChildProcess],
    addresses: ServerAddresses,
    environment: Mapping[str, str],
    log: Callable[[str], None],
) -> None:
    """Run a worker for each work queue, and replace one that exits; what a killed one was executing is restarted.

    A worker executes one flow run at a time. Limits of the queues would be those of all machines together.
    """
    from tasks.services.deployments import POOL, QUEUES, restart_interrupted_runs

    workers: dict[str, _Worker] = {}
    with ExitStack() as stack:
        try:
            while True:
                for queue in QUEUES:
                    if (worker := workers.get(queue)) and worker.child.process.poll() is None:
                        continue
                    if worker:
                        if time.monotonic() - worker.started < _WORKER_STABLE_SECONDS:
                            worker.child.raise_if_exited()
                        worker.stack.close()
                        log(f"The {queue} worker exited; starting another one.")
                    if restarted := restart_interrupted_runs(addresses.api, queue):
                        log(f"Interrupted flow runs, started again: {restarted}")
                    workers[queue] = _start_worker(POOL, queue, environment, stack)
                for server in servers:
                    server.raise_if_exited()
                time.sleep(0.5)
        finally:
            # Their flow runs end first, and a training run saves a last checkpoint.
            stop([worker.child for worker in workers.values()], _WORKER_STOP_SECONDS)


@dataclass(frozen=True)
class _Worker:
    """A running worker; closing its stack ends it."""

    child: ChildProcess
    stack: ExitStack
    started: float


def _start_worker(pool: str, queue: str, environment: Mapping[str, str], outer: ExitStack) -> _Worker:
    name = f"{socket.gethostname()} {queue}"
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]
    command += ["--work-queue", queue, "--limit", "1", "--name", name]
    stack = outer.enter_context(ExitStack())
    child = child_process(f"The {queue} worker", command, environment, stop_seconds=_WORKER_STOP_SECONDS)
    return _Worker(stack.enter_context(child), stack, time.monotonic())


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
