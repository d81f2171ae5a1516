"""`ramreel games` and `up`: what there is, and where it is shown."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.asking import BadInputError, Json, checking, embedded_store, prepare_prefect, shown


def games(
    pattern: Annotated[str, typer.Argument(help="Only ids that contain this.")] = "",
    as_json: Json = False,
) -> None:
    """List the environment ids that can be trained on."""
    from tasks.arcade.game import environment_ids, resolve

    found = [resolve(name) for name in environment_ids() if pattern.casefold() in name.casefold()]
    if not found:
        raise BadInputError(f"no environment id contains {pattern!r}: `ramreel games` lists them all")
    with shown(as_json) as terminal:
        terminal.table(
            ["environment id", "frame skip", "sticky actions"],
            [[game.env_id, str(game.frame_skip), f"{game.repeat_action_probability:g}"] for game in found],
            [],
            {"games": [game.model_dump(mode="json") for game in found]},
        )


def up(
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's server and UI.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's server and UI.")] = 5000,
) -> None:
    """Show everything in the browser: Prefect's and MLflow's UI over the embedded store, until Ctrl-C."""
    store = embedded_store(None)
    prepare_prefect()
    from tasks.servers import PortTakenError, serve

    with checking():
        store.server_command("127.0.0.1", mlflow_port)
    try:
        serve(store, prefect_port=prefect_port, mlflow_port=mlflow_port, say=lambda line: print(line, flush=True))
    except PortTakenError as error:
        raise BadInputError(str(error)) from None
