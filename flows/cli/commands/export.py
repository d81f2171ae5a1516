"""`ramreel export`."""

from __future__ import annotations

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    open_checked_store,
    open_terminal,
    validated,
    validating,
    writable,
)
from tasks.arcade.inputs.commands import ExportSettings


@options_of(ExportSettings)
def export(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Export a checkpoint as a Stable-Baselines3 zip that PPO.load reads and that plays the same actions."""
    settings = validated(ExportSettings, given)
    announce(f"export {settings.run}")
    path = writable(settings.to, "zip file")
    from tasks.arcade.learner import ExportError
    from tasks.arcade.learner import export as write
    from tasks.runs.lookup import find_checkpoint, load_checkpoint

    store = open_checked_store(tracking_uri)
    with validating():
        stored = find_checkpoint(store, settings.run, settings.checkpoint)
        checkpoint = load_checkpoint(store, stored)
    with open_terminal(as_json) as terminal:
        try:
            write(checkpoint, path)
        except ExportError as error:
            raise InvalidInputError(str(error)) from None
        pixels = checkpoint.settings.approach.features.uses_pixels
        observation = "the last four frames, uint8 (4, 84, 84)" if pixels else "FrameStackObservation(env, 2) over RAM"
        terminal.results(
            [f"{path}: checkpoint at step {stored.step:,}; its observation is {observation}"],
            {"run_id": stored.run_id, "step": stored.step, "path": str(path)},
        )
