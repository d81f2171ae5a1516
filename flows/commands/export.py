"""`ramreel export`: a checkpoint for whoever works with Stable-Baselines3 alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.asking import BadInputError, Json, Run, TrackingUri, checking, embedded_store, shown


def export(
    run: Run,
    to: Annotated[Path, typer.Option(help="The zip that is written.")],
    checkpoint: Annotated[int | None, typer.Option(help="Step of the checkpoint; default: the last one.")] = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Write a checkpoint as a zip of Stable-Baselines3, which `PPO.load` opens and which plays the same actions."""
    from tasks.arcade.learner import ExportError
    from tasks.arcade.learner import export as write
    from tasks.runs import fetch

    if not to.parent.is_dir() or to.is_dir():
        raise BadInputError(f"{to} cannot be written: name a file in a folder that is there")
    store = embedded_store(tracking_uri)
    with checking():
        run_id = store.resolve_run(run)
        stored = store.checkpoints_at(run_id, (checkpoint,) if checkpoint is not None else None)[-1]
        loaded = fetch(store, stored)
    with shown(as_json) as terminal:
        try:
            write(loaded, to)
        except ExportError as error:
            raise BadInputError(str(error)) from None
        terminal.results(
            [f"{to}: checkpoint at step {stored.step:,}; it observes FrameStackObservation(env, 2) over a game's RAM"],
            {"run_id": run_id, "step": stored.step, "path": str(to)},
        )
