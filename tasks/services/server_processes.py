"""The processes of the gallery and of both servers, on the embedded store or on the backends of a cluster.

Uses a private part of Prefect, tried with Prefect 3.9.1: the environment variables `PREFECT__SERVER_FINAL` and
`PREFECT__SERVER_WEBSERVER_ONLY` of `prefect server start --workers`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.execution.endpoints import ServerAddresses
from tasks.execution.links import UI_ENVIRONMENT
from tasks.services.backends import Backends
from tasks.services.child_processes import child_process
from tasks.services.errors import ServiceConfigurationError
from tasks.services.network_access import Access
from tasks.services.postgresql import MLFLOW_SCHEMA, USERS_SCHEMA
from tasks.services.prefect_vacuum import retention_environment
from tasks.store import Store, migration_command, one_line, server_command

EVENT_ENVIRONMENT = {"PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "PT1H"}
"""How long Prefect keeps what it knows of missing heartbeats until it acts on it.

It acts every 5 seconds, but may pause for minutes after an outage of its database or Redis. What was dropped meanwhile
would never be noticed: a flow run whose machine is gone would stay Running.
"""
PREFECT_SERVER = "Prefect's server"
_PREFECT = (sys.executable, "-m", "prefect")
_PSYCOPG2 = "postgresql+psycopg2"
_PROCESSES = 2
"""Processes of each server of a cluster: if one is killed, the other one answers until it is replaced."""
_PATIENT = ("--timeout-worker-healthcheck", "60")
"""By default uvicorn kills a process that does not respond for five seconds, as on a machine with other load."""
_API_ONLY = {
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT__SERVER_WEBSERVER_ONLY": "1",
    # `migrate` has done both: processes that start at the same time would get in each other's way.
    "PREFECT_API_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
}


class MigrationError(ServiceConfigurationError):
    """A database could not be migrated."""


@dataclass(frozen=True)
class ServerProcess:
    """A process to start.

    Attributes:
        name: its name in messages.
        command: its command line.
        environment: variables to set in its environment.
        health: URL of its health check; None if it has none.
        announcement: line for the user when it is healthy.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    health: str | None = None
    announcement: str = ""


@dataclass(frozen=True)
class Ports:
    """Ports of both servers and of the gallery."""

    prefect: int
    mlflow: int
    gallery: int


def embedded_processes(store: Store, access: Access, ports: Ports, folder: Path) -> tuple[ServerProcess, ...]:
    """Return the gallery and the servers on the embedded store; `folder` is for files of settings."""
    assert store.address.database is not None
    users = f"sqlite:///{store.address.database.with_name('mlflow-users.db')}"
    prefect = [*_PREFECT, "server", "start", "--host", access.host, "--port", str(ports.prefect)]
    mlflow = store.server_command(access.host, ports.mlflow)
    return (
        _gallery_server(access, ports, tracking_uri_of_workers(store, access, ports)),
        _prefect_server(access, ports, prefect, {}),
        _mlflow_server(access, ports, mlflow, access.mlflow_environment(ports.mlflow, users, folder)),
    )


def cluster_processes(backends: Backends, access: Access, ports: Ports, folder: Path) -> tuple[ServerProcess, ...]:
    """Return the gallery and the servers on the backends of a cluster; `folder` is for files of settings.

    Prefect's background services are a process of their own, so that they exist once, however many processes answer
    requests.
    """
    database, environment = backends.database, backends.prefect_environment
    users = access.mlflow_environment(ports.mlflow, database.uri(_PSYCOPG2, USERS_SCHEMA), folder)
    tables = database.uri(_PSYCOPG2, MLFLOW_SCHEMA)
    mlflow = server_command(access.host, ports.mlflow, _PROCESSES, tables, backends.artifacts)
    return (
        _gallery_server(access, ports, addresses(access.local, ports).mlflow),
        _prefect_server(access, ports, _prefect_api(access.host, ports.prefect), environment | _API_ONLY),
        _mlflow_server(access, ports, [*mlflow, "--uvicorn-opts", shlex.join(_PATIENT)], database.environment | users),
        ServerProcess(
            "Prefect's services",
            [*_PREFECT, "server", "services", "start"],
            environment | _prefect_environment(access, ports),
        ),
    )


def migrate(backends: Backends) -> None:
    """Create or migrate the tables of both servers.

    Raises:
        ServiceConfigurationError: that failed, for instance because a newer version has migrated them.
    """
    backends.database.create_schemas()
    prefect = [sys.executable, "-m", "tasks.services.prefect_migrations"]
    mlflow = migration_command(backends.database.uri(_PSYCOPG2, MLFLOW_SCHEMA))
    _run("Prefect", prefect, backends.prefect_environment)
    _run("MLflow", mlflow, backends.database.environment)


def addresses(host: str, ports: Ports) -> ServerAddresses:
    """Return the URLs of both servers and of the gallery at a host."""
    return ServerAddresses(
        prefect=f"http://{host}:{ports.prefect}",
        mlflow=f"http://{host}:{ports.mlflow}",
        gallery=f"http://{host}:{ports.gallery}",
    )


def tracking_uri_of_workers(store: Store, access: Access, ports: Ports) -> str:
    """Return the MLflow tracking URI of the workers, and of the gallery, on the machine of an embedded store.

    Runs of other machines have their artifacts behind MLflow's server: only its clients can read them.
    """
    return store.address.uri if access.is_loopback else addresses(access.local, ports).mlflow


def _gallery_server(access: Access, ports: Ports, tracking_uri: str) -> ServerProcess:
    found = addresses(access.name, ports)
    mlflow = os.environ.get(UI_ENVIRONMENT, found.mlflow).rstrip("/")
    listening = ["--host", access.host, "--port", str(ports.gallery)]
    linked = ["--prefect", found.prefect, "--mlflow", mlflow]
    names = [option for name in access.names for option in ("--name", name)]
    return ServerProcess(
        "the gallery",
        [sys.executable, "-m", "tasks.web", *listening, *linked, *names],
        {"MLFLOW_TRACKING_URI": tracking_uri},
        health=f"{addresses(access.local, ports).gallery}/health",
        announcement=f"Gallery: {found.gallery}",
    )


def _prefect_server(
    access: Access, ports: Ports, command: Sequence[str], environment: Mapping[str, str]
) -> ServerProcess:
    return ServerProcess(
        PREFECT_SERVER,
        command,
        {**environment, **_prefect_environment(access, ports)},
        health=f"{addresses(access.local, ports).api}/health",
        announcement=f"Prefect: {addresses(access.name, ports).prefect}",
    )


def _mlflow_server(
    access: Access, ports: Ports, command: Sequence[str], environment: Mapping[str, str]
) -> ServerProcess:
    login = ("--app-name", "basic-auth") if access.mlflow_has_password else ()
    return ServerProcess(
        "MLflow's server",
        [*command, *login],
        {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        health=f"{addresses(access.local, ports).mlflow}/health",
        announcement=f"MLflow: {addresses(access.name, ports).mlflow} (choose Model training at the top left)",
    )


def _prefect_api(host: str, port: int) -> list[str]:
    """Return the command line that `prefect server start --no-services --workers N` runs, with more patience."""
    factory = ["--factory", "prefect.server.api.server:create_app", "--log-level", "error"]
    listening = ["--host", host, "--port", str(port), "--workers", str(_PROCESSES)]
    return [sys.executable, "-m", "uvicorn", *factory, *listening, *_PATIENT]


def _prefect_environment(access: Access, ports: Ports) -> dict[str, str]:
    return {
        **retention_environment(),
        # The UI sends its requests to this URL; by default it is that of port 4200, whatever the server's port.
        "PREFECT_SERVER_UI_API_URL": os.environ.get("PREFECT_SERVER_UI_API_URL") or addresses(access.name, ports).api,
        # The newer UI calls an analytics service even with analytics disabled.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        **EVENT_ENVIRONMENT,
    }


def _run(name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    with child_process(f"the migration of {name}'s database", command, environment) as child:
        child.process.wait()
        errors = child.last_error()
    if child.process.returncode:
        raise MigrationError(f"could not migrate {name}'s database: {one_line(ValueError(errors))}")
