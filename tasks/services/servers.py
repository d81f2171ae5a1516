"""The gallery and both servers: on the embedded store with workers, or on the backends of a cluster without."""

from __future__ import annotations

import errno
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tasks.execution.endpoints import ServerAddresses, published
from tasks.services.backends import Backends
from tasks.services.child_processes import ChildProcess, ServerError, child_process
from tasks.services.clock_changes import WallClock, correct_flow_runs, describe_change, renew_windows
from tasks.services.errors import ServiceConfigurationError
from tasks.services.network_access import Access
from tasks.services.postgresql import DatabaseLock
from tasks.services.server_processes import (
    PREFECT_SERVER,
    Ports,
    ServerProcess,
    addresses,
    cluster_processes,
    embedded_processes,
    migrate,
    tracking_uri_of_workers,
)
from tasks.services.workers import WorkerSetup, keep_workers_running, worker_environment, worker_name
from tasks.store import Store

_LOCK_SECONDS = 5


class PortError(ServiceConfigurationError):
    """A port is invalid or in use; the message names the option that chooses another one."""


def serve(store: Store, ports: Ports, access: Access, log: Callable[[str], None], show: Callable[[str], None]) -> None:
    """Run gallery and servers on the embedded store, and workers, until Ctrl-C or until a server exits.

    They end with this process, even if it is killed. Registers the deployments first. A worker that exits is replaced,
    and Prefect's server is started again when the clock was set.

    Args:
        store: the embedded store.
        ports: ports of the servers.
        access: who may reach them.
        log: receives lines for the user.
        show: receives the URL of the gallery once all of them answer.

    Raises:
        PortError: a port is invalid or in use; nothing was started.
        ServerError: a server or a worker did not start, or a server exited.
        StoreError: the store is a tracking server.
        DeploymentError: Prefect rejected the deployments.
    """
    _check_ports(access, ports)
    clock = WallClock()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        processes = embedded_processes(store, access, ports, Path(folder))
        with _running(processes, access, ports, log) as running:
            from tasks.services.deployments import POOL, QUEUES, restart_interrupted_runs

            servers = addresses(access.local, ports)

            def restart(queue: str) -> None:
                # Where other machines can join, theirs are none of this one's business.
                worker = None if access.is_loopback else worker_name(queue)
                if restarted := restart_interrupted_runs(servers.api, queue, worker):
                    log(f"Interrupted flow runs, started again: {restarted}")

            def check() -> None:
                _raise_if_exited(running)
                if by := clock.set_by():
                    log(describe_change(by))
                    _follow_clock(running, servers.api, by)

            environment = worker_environment(servers.api, tracking_uri_of_workers(store, access, ports))
            setup = WorkerSetup(POOL, QUEUES, environment)
            with published(store.address, servers):
                show(f"{addresses(access.name, ports).gallery}")
                log("Press Ctrl-C to stop.")
                keep_workers_running(setup, before_start=restart, check=check, log=log)


def serve_cluster(
    backends: Backends, ports: Ports, access: Access, log: Callable[[str], None], show: Callable[[str], None]
) -> None:
    """Run gallery and servers on the backends of a cluster until Ctrl-C or until a server exits; workers join it.

    Checks the backends, then migrates the databases, then registers the deployments. Arguments as for `serve`.

    Raises:
        ServiceConfigurationError: a port, a backend or a database cannot be used, or another machine serves it.
        ServerError: a server did not start, or exited.
        DeploymentError: Prefect rejected the deployments.
    """
    _check_ports(access, ports)
    backends.check()
    with (
        backends.database.locked() as lock,
        tempfile.TemporaryDirectory(prefix="ramreel-") as folder,
    ):
        log("Migrating the databases of Prefect and MLflow")
        migrate(backends)
        processes = cluster_processes(backends, access, ports, Path(folder))
        with _running(processes, access, ports, log) as running:
            log(f"Machines join with `ramreel worker --server {access.name}:{ports.prefect}`")
            show(f"{addresses(access.name, ports).gallery}")
            log("Press Ctrl-C to stop.")
            _watch(running, lock)


@dataclass
class _Server:
    """A running server; closing its stack ends it."""

    process: ServerProcess
    child: ChildProcess
    stack: ExitStack = field(repr=False)

    @classmethod
    def start(cls, process: ServerProcess, outer: ExitStack) -> _Server:
        stack = outer.enter_context(ExitStack())
        return cls(process, _start(process, stack), stack)

    def wait_until_healthy(self) -> None:
        if self.process.health:
            self.child.wait_until_healthy(self.process.health)

    def kill(self) -> None:
        self.child.kill()
        self.stack.close()

    def start_again(self) -> None:
        self.child = _start(self.process, self.stack)
        self.wait_until_healthy()


def _start(process: ServerProcess, stack: ExitStack) -> ChildProcess:
    return stack.enter_context(child_process(process.name, process.command, process.environment))


def _follow_clock(running: Sequence[_Server], api: str, by: float) -> None:
    """Start Prefect's server again after the clock was set by some seconds."""
    found_at = datetime.now(UTC)
    (prefect,) = (server for server in running if server.process.name == PREFECT_SERVER)
    # Killed: while it shuts down, it would take the running flow runs for crashed.
    prefect.kill()
    renew_windows()
    prefect.start_again()
    correct_flow_runs(api, by, found_at)


def _watch(running: Sequence[_Server], lock: DatabaseLock) -> None:
    """Wait until a server exits; hold the lock on the database, whose server may be restarted meanwhile."""
    renewed = time.monotonic()
    while True:
        _raise_if_exited(running)
        if time.monotonic() - renewed > _LOCK_SECONDS:
            try:
                lock.renew()
            except ServiceConfigurationError as error:
                raise ServerError(str(error)) from None
            renewed = time.monotonic()
        time.sleep(0.5)


@contextmanager
def _running(
    processes: Sequence[ServerProcess], access: Access, ports: Ports, log: Callable[[str], None]
) -> Iterator[Sequence[_Server]]:
    """Run the servers with the deployments registered while the block runs."""
    with ExitStack() as stack:
        running = [_Server.start(process, stack) for process in processes]
        for server in running:
            if server.process.health:
                server.wait_until_healthy()
                log(server.process.announcement)
        _register(addresses(access.local, ports), ports, log)
        yield running


def _register(servers: ServerAddresses, ports: Ports, log: Callable[[str], None]) -> None:
    from tasks.services.artifact_links import complete_links
    from tasks.services.deployments import POOL, register
    from tasks.services.server_record import publish_record

    registration = "registered" if register(servers.api).changed else "unchanged"
    complete_links(servers.api, servers.mlflow)
    publish_record(servers.api, mlflow_port=ports.mlflow)
    log(f"Deployments: {registration}; workers of pool {POOL} execute scheduled runs")


def _raise_if_exited(running: Sequence[_Server]) -> None:
    for server in running:
        server.child.raise_if_exited()


def _check_ports(access: Access, ports: Ports) -> None:
    taken: dict[int, str] = {}
    for owner, port, option in (
        ("Prefect's", ports.prefect, "--prefect-port"),
        ("MLflow's", ports.mlflow, "--mlflow-port"),
        ("the gallery's", ports.gallery, "--gallery-port"),
    ):
        _check_port(access, port, option)
        if port in taken:
            raise PortError(f"port {port} is {taken[port]} already: choose another with {option}")
        taken[port] = owner


def _check_port(access: Access, port: int, option: str) -> None:
    if not 1 <= port <= 65535:
        raise PortError(f"{option} must be a port from 1 to 65535, got {port}")
    family, kind, protocol, _, address = socket.getaddrinfo(access.host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise PortError(f"{access.host} is not an address of this machine: choose one with --host") from None
            raise PortError(f"port {port} is in use ({error.strerror}): choose another with {option}") from None
