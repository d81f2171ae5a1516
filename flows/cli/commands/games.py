"""`ramreel games`: what there is to play."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Json
from flows.cli.session import BadInputError, shown


def games(
    pattern: Annotated[str, typer.Argument(help="Only ids that contain this.")] = "",
    as_json: Json = False,
) -> None:
    """List the environment ids that can be trained on."""
    from tasks.arcade.emulator.emulator import environment_ids, resolve

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
