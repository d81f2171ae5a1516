"""`ramreel export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from tasks.arcade.checkpoints.checkpoint import Checkpoint
    from tasks.store import Store, StoredCheckpoint


@options_of(ExportSettings)
def export(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Export a checkpoint as a Stable-Baselines3 zip that plays the same actions, alone or in a folder for the Hub."""
    settings = validated(ExportSettings, given)
    if settings.to is not None:
        writable(settings.to, "zip file")
    if settings.hub is not None:
        with validating():
            blocked = settings.hub.is_file() or not settings.hub.absolute().parent.is_dir()
        if blocked:
            raise InvalidInputError(f"Cannot write to {settings.hub}: name a folder, new or not, in an existing one")
    if settings.push is not None:
        from tasks.services.hub import check_hub

        with validating():
            check_hub()
    announce(f"export {settings.run}")
    from tasks.arcade.learner import ExportError
    from tasks.runs.lookup import find_checkpoint, load_checkpoint

    store = open_checked_store(tracking_uri)
    with validating():
        stored = find_checkpoint(store, settings.run, settings.checkpoint)
        checkpoint = load_checkpoint(store, stored)
    with open_terminal(as_json) as terminal:
        try:
            lines, values = _write(settings, store, stored, checkpoint)
        except ExportError as error:
            raise InvalidInputError(str(error)) from None
        terminal.results(lines, {"run_id": stored.run_id, "step": stored.step, **values})


def _write(
    settings: ExportSettings, store: Store, stored: StoredCheckpoint, checkpoint: Checkpoint
) -> tuple[list[str], dict[str, Any]]:
    """Write the zip file or the folder; return the printed lines and the keys of the JSON object."""
    from tasks.arcade.learner import export as write

    if settings.hub is not None:
        return _write_folder(settings, store, stored, checkpoint)
    assert settings.to is not None
    write(checkpoint, settings.to)
    pixels = checkpoint.settings.approach.features.uses_pixels
    observation = "the last four frames, uint8 (4, 84, 84)" if pixels else "FrameStackObservation(env, 2) over RAM"
    line = f"{settings.to}: checkpoint at step {stored.step:,}; its observation is {observation}"
    return [line], {"path": str(settings.to)}


def _write_folder(
    settings: ExportSettings, store: Store, stored: StoredCheckpoint, checkpoint: Checkpoint
) -> tuple[list[str], dict[str, Any]]:
    from tasks.runs.hub_folder import CARD, REPLAY, evaluation_for_hub, write_hub_folder

    folder = settings.hub
    assert folder is not None
    with validating():
        evaluation = evaluation_for_hub(store, stored)
    name = write_hub_folder(store, stored, checkpoint, evaluation, folder)
    line = f"{folder}: {name}, {CARD}, {REPLAY}; checkpoint at step {stored.step:,}"
    if settings.push is None:
        return [line, "to upload it: the same command with --push USER/NAME"], {"path": str(folder), "url": None}
    from tasks.services.hub import push

    url = push(folder, settings.push)
    return [line, f"pushed to {url}"], {"path": str(folder), "url": url}
