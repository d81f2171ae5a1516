"""`ramreel up`, `ramreel worker`, `ramreel deploy` and `ramreel status`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flows.cli.browser import open_in_browser
from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    configure_prefect,
    open_checked_store,
    open_terminal,
    validated,
    validating,
)
from tasks.arcade.inputs.commands import UpSettings, WorkerSettings

if TYPE_CHECKING:
    from tasks.services.server_processes import Ports
    from tasks.services.status import FlowRunInfo, Status
    from tasks.store import Store


@options_of(UpSettings)
def up(given: Given) -> None:
    """Run unattended until Ctrl-C: gallery, servers and UIs of Prefect and MLflow, and workers for the deployments."""
    settings = validated(UpSettings, given)
    announce("start the servers of Prefect and MLflow")
    from tasks.services.backends import find_backends
    from tasks.services.child_processes import sigterm_as_ctrl_c
    from tasks.services.network_access import Access
    from tasks.services.server_processes import Ports
    from tasks.services.servers import serve, serve_cluster

    access, ports = Access(settings.host), Ports(settings.prefect_port, settings.mlflow_port, settings.gallery_port)
    with validating():
        backends = find_backends(settings.model_dump(include={"database", "redis", "artifacts"}))
        access.check(insecure=settings.insecure)
    _use_own_passwords()
    show = _show if settings.browser and sys.stdout.isatty() else _ignore
    with starting(), sigterm_as_ctrl_c():
        if backends:
            configure_prefect(serves=True)
            serve_cluster(backends, ports, access, _print, show)
        else:
            serve(_embedded_store(ports), ports, access, _print, show)


def _embedded_store(ports: Ports) -> Store:
    """Return the store on this machine, if no other `ramreel up` serves it."""
    store = open_checked_store(None)
    configure_prefect(serves=True)
    from tasks.arcade.emulator.environment_ids import check_roms_folder
    from tasks.execution.endpoints import running_servers
    from tasks.runs.disk_space import require_space

    with validating():
        check_roms_folder()
        require_space(store)
        store.server_command("127.0.0.1", ports.mlflow)
    if servers := running_servers(store.address):
        raise InvalidInputError(
            f"`ramreel up` is already running here: Prefect at {servers.prefect}, MLflow at {servers.mlflow}"
        )
    return store


def _use_own_passwords() -> None:
    """Let this process and its workers log in to the servers that it starts."""
    if password := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        os.environ["PREFECT_API_AUTH_STRING"] = password
    if password := os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD"):
        # Of MLflow's first start; a user who has changed it there sets these.
        os.environ.setdefault("MLFLOW_TRACKING_USERNAME", "admin")
        os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", password)


@contextmanager
def starting() -> Iterator[None]:
    """Raise `InvalidInputError` for what keeps a service from starting."""
    from tasks.services.errors import ServiceConfigurationError

    try:
        yield
    except ServiceConfigurationError as error:
        raise InvalidInputError(str(error)) from None


def _print(line: str) -> None:
    print(line, flush=True)


def _show(url: str) -> None:
    open_in_browser(url)


def _ignore(_: str) -> None:
    pass


@options_of(WorkerSettings)
def worker(given: Given) -> None:
    """Execute flow runs of another machine's `ramreel up` until Ctrl-C, if versions, ROMs and clock fit."""
    settings = validated(WorkerSettings, given)
    announce("start a worker")
    server = settings.server or os.environ.get("PREFECT_API_URL")
    if not server:
        raise InvalidInputError("Missing --server: the address of the machine of `ramreel up`, such as lab-server:4200")
    from tasks.services.prefect_server import prefect_api

    with validating():
        api = os.environ["PREFECT_API_URL"] = prefect_api(server)
    configure_prefect()
    from tasks.services.child_processes import sigterm_as_ctrl_c
    from tasks.services.joining import find_setup, join

    with validating():
        setup = find_setup(api, settings.pool, settings.limit)
    with sigterm_as_ctrl_c():
        join(setup, _print)


def deploy(*, as_json: Json = False) -> None:
    """Register the deployments and automations at the Prefect server of PREFECT_API_URL, or update them."""
    announce("register the deployments")
    configure_prefect()
    from tasks.services.deployments import register
    from tasks.services.prefect_server import configured_prefect_server
    from tasks.services.server_record import publish_record
    from tasks.store import without_passwords

    with validating():
        api = configured_prefect_server()
    with open_terminal(as_json) as terminal:
        found = register(api)
        publish_record(api)
        lines = [
            f"registered at {without_passwords(api)}" if found.changed else "unchanged: all of it is registered",
            f"work pool: {found.work_pool}, with the queues {', '.join(found.work_queues)}",
            f"deployments: {', '.join(found.deployments)}",
            *(f"automation: {name}" for name in found.automations),
        ]
        terminal.results(lines, found.model_dump())


def status(*, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Show running and scheduled flow runs, each game's champion, and the latest reports."""
    announce("read the status")
    store = open_checked_store(tracking_uri)
    from tasks.services.status import find_prefect_api
    from tasks.services.status import status as read_status

    if find_prefect_api(store):
        configure_prefect()
    with open_terminal(as_json) as terminal:
        found = read_status(store)
        terminal.results(_screen(found), found.model_dump(mode="json"))


def _screen(status: Status) -> list[str]:
    servers = [
        f"Gallery: {status.gallery or 'not running; `ramreel up` starts it'}",
        f"Prefect: {status.prefect_error or status.prefect or 'not running; `ramreel up` starts it'}",
        f"MLflow:  {status.mlflow or 'not running; the store is read directly'}",
        f"workers: {status.workers}{_waiting(status)}",
        *([f"Disk:    {status.disk_error}; `ramreel prune` lists what can go"] if status.disk_error else []),
    ]
    running = [
        f"  {one.name}: {one.state} since {one.at.astimezone():%Y-%m-%d %H:%M}{_place(one)}" for one in status.running
    ]
    scheduled = [f"  {one.name}: {one.at.astimezone():%Y-%m-%d %H:%M}" for one in status.next]
    inactive = [f"  inactive: {', '.join(status.off)}"] if status.off else []
    champions = [
        f"  {one.env_id}, version {one.version}: {one.summary}{f' (dropped: {one.dropped})' if one.dropped else ''}"
        for one in status.champions
    ]
    reports = [f"  {one.at.astimezone():%Y-%m-%d %H:%M} {one.name}: {one.page}" for one in status.reports]
    sections = {"running": running, "next": scheduled + inactive, "champions": champions, "reports": reports}
    return [*servers, *(line for title, lines in sections.items() for line in ("", title, *(lines or ["  none"])))]


def _waiting(status: Status) -> str:
    """Return what to do where flow runs wait in vain."""
    if not status.waiting:
        return ""
    due = "1 flow run is" if status.waiting == 1 else f"{status.waiting} flow runs are"
    return f"; {due} due: start a worker with `ramreel up` or `ramreel worker`"


def _place(run: FlowRunInfo) -> str:
    """Return where a flow run is executed."""
    places = [f" by worker {run.worker}" if run.worker else "", f" on {run.host}" if run.host else ""]
    return "".join(places)
