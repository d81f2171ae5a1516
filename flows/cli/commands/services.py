"""`ramreel up`, `status` and `guard`: what runs by itself, and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import ENV_HELP, Json, Quiet, TrackingUri
from flows.cli.session import BadInputError, checking, embedded_store, prepare_prefect, running, shown

if TYPE_CHECKING:
    from tasks.champion import ChampionStatus
    from tasks.services.status import Status

DROPPED = 3


def up(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's server and UI.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's server and UI.")] = 5000,
) -> None:
    """Run everything by itself until Ctrl-C: Prefect's and MLflow's servers and UIs, and a worker."""
    store = embedded_store(None)
    prepare_prefect(serves=True)
    from tasks.execution.endpoints import addresses
    from tasks.services.servers import PortTakenError, serve

    with checking():
        store.server_command("127.0.0.1", mlflow_port)
    if at := addresses(store.address):
        raise BadInputError(f"`ramreel up` runs here already: Prefect at {at.prefect}, MLflow at {at.mlflow}")
    try:
        serve(store, prefect_port=prefect_port, mlflow_port=mlflow_port, say=lambda line: print(line, flush=True))
    except PortTakenError as error:
        raise BadInputError(str(error)) from None


def status(tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Say in one screen what runs, what is scheduled next, who is champion of each game, and the last reports."""
    store = embedded_store(tracking_uri)
    prepare_prefect()
    from tasks.services.status import status as read

    with shown(as_json) as terminal:
        known = read(store)
        terminal.results(_screen(known), known.model_dump(mode="json"))


def guard(
    env_id: Annotated[str | None, typer.Argument(help=f"{ENV_HELP} Default: every game that has a champion.")] = None,
    episodes: Annotated[int, typer.Option(help="Fresh episodes that each champion plays.")] = 30,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look whether champions still play as they did when they were crowned; one that does not is told of."""
    from tasks.arcade.emulator.emulator import resolve
    from tasks.arcade.inputs.forms import GuardSettings

    with checking():
        settings = GuardSettings(env_id=env_id, episodes=episodes)
        if env_id is not None:
            resolve(env_id)
    store = embedded_store(tracking_uri)
    prepare_prefect()
    from tasks.champion import crowned

    with checking():
        if env_id is not None:
            crowned(store, env_id)

    with running("flows.guard", as_json, quiet) as terminal:
        from flows.guard import GuardError
        from flows.guard import guard as flow

        try:
            standings = flow(settings)
        except GuardError as error:
            terminal.error(str(error), _looked_at(error.standings))
            raise typer.Exit(1) from None
        lines = [f"{one.env_id} version {one.version}: {one.words}" for one in standings]
        terminal.results(lines or ["no game has a champion yet"], _looked_at(standings))
        if any(one.dropped for one in standings):
            raise typer.Exit(DROPPED)


def _looked_at(standings: tuple[ChampionStatus, ...]) -> dict[str, Any]:
    return {"champions": [one.model_dump() for one in standings], "dropped": any(one.dropped for one in standings)}


def _screen(known: Status) -> list[str]:
    where = [
        f"Prefect: {known.prefect or 'not running, `ramreel up` starts it'}",
        f"MLflow:  {known.mlflow or 'no server; the store is read as it is'}",
        f"workers: {known.workers}",
    ]
    running = [f"  {one.name}: {one.state} since {one.at.astimezone():%Y-%m-%d %H:%M}" for one in known.running]
    coming = [f"  {one.name}: {one.at.astimezone():%Y-%m-%d %H:%M}" for one in known.next]
    off = [f"  switched off: {', '.join(known.off)}"] if known.off else []
    champions = [
        f"  {one.env_id}, version {one.version}: {one.words}{f' (dropped: {one.dropped})' if one.dropped else ''}"
        for one in known.champions
    ]
    reports = [f"  {one.at.astimezone():%Y-%m-%d %H:%M} {one.name}: {one.page}" for one in known.reports]
    parts = (("running", running), ("next", coming + off), ("champions", champions), ("reports", reports))
    return [*where, *(line for title, lines in parts for line in ("", title, *(lines or ["  none"])))]
