"""`ramreel up`, `ramreel deploy` and `ramreel status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    configure_prefect,
    open_checked_store,
    open_terminal,
    validated,
    validating,
)
from tasks.arcade.inputs.commands import UpSettings

if TYPE_CHECKING:
    from tasks.services.status import FlowRunInfo, Status


@options_of(UpSettings)
def up(given: Given) -> None:
    """Run unattended until Ctrl-C: the servers and UIs of Prefect and MLflow, and workers for the deployments."""
    settings = validated(UpSettings, given)
    store = open_checked_store(None)
    configure_prefect(serves=True)
    from tasks.execution.endpoints import running_servers
    from tasks.services.servers import PortError, serve

    with validating():
        store.server_command("127.0.0.1", settings.mlflow_port)
    if servers := running_servers(store.address):
        raise InvalidInputError(
            f"`ramreel up` is already running here: Prefect at {servers.prefect}, MLflow at {servers.mlflow}"
        )
    try:
        serve(
            store,
            prefect_port=settings.prefect_port,
            mlflow_port=settings.mlflow_port,
            log=lambda line: print(line, flush=True),
        )
    except PortError as error:
        raise InvalidInputError(str(error)) from None


def deploy(*, as_json: Json = False) -> None:
    """Register the deployments and automations at the Prefect server of PREFECT_API_URL, or update them."""
    configure_prefect()
    from tasks.services.deployments import register
    from tasks.services.prefect_server import configured_prefect_server
    from tasks.store import without_passwords

    with validating():
        api = configured_prefect_server()
    with open_terminal(as_json) as terminal:
        found = register(api)
        lines = [
            f"registered at {without_passwords(api)}" if found.changed else "unchanged: all of it is registered",
            f"work pool: {found.work_pool}, with the queues {', '.join(found.work_queues)}",
            f"deployments: {', '.join(found.deployments)}",
            *(f"automation: {name}" for name in found.automations),
        ]
        terminal.results(lines, found.model_dump())


def status(*, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Show running and scheduled flow runs, each game's champion, and the latest reports."""
    store = open_checked_store(tracking_uri)
    configure_prefect()
    from tasks.services.status import status as read_status

    with open_terminal(as_json) as terminal:
        found = read_status(store)
        terminal.results(_screen(found), found.model_dump(mode="json"))


def _screen(status: Status) -> list[str]:
    servers = [
        f"Prefect: {status.prefect_error or status.prefect or 'not running; `ramreel up` starts it'}",
        f"MLflow:  {status.mlflow or 'not running; the store is read directly'}",
        f"workers: {status.workers}",
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


def _place(run: FlowRunInfo) -> str:
    """Return where a flow run is executed."""
    places = [f" by worker {run.worker}" if run.worker else "", f" on {run.host}" if run.host else ""]
    return "".join(places)
