"""`ramreel export`: a checkpoint for whoever works with Stable-Baselines3 alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import Checkpoint, Json, Run, TrackingUri, writable
from flows.cli.session import BadInputError, checking, embedded_store, shown


def export(
    run: Run,
    to: Annotated[Path, typer.Option(help="The zip that is written.")],
    checkpoint: Checkpoint = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
) -> None:
    """Write a checkpoint as a zip of Stable-Baselines3, which `PPO.load` opens and which plays the same actions."""
    from tasks.arcade.learner import ExportError
    from tasks.arcade.learner import export as write
    from tasks.runs.lookup import fetch, find_checkpoint

    writable(to, "written")
    store = embedded_store(tracking_uri)
    with checking():
        stored = find_checkpoint(store, run, checkpoint)
        loaded = fetch(store, stored)
    with shown(as_json) as terminal:
        try:
            write(loaded, to)
        except ExportError as error:
            raise BadInputError(str(error)) from None
        of_pixels = loaded.settings.approach.features.kind == "pixels"
        seen = "the last four pictures, uint8 of (4, 84, 84)" if of_pixels else "FrameStackObservation(env, 2) over RAM"
        terminal.results(
            [f"{to}: checkpoint at step {stored.step:,}; it observes {seen}"],
            {"run_id": stored.run_id, "step": stored.step, "path": str(to)},
        )
