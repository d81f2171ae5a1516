"""`ramreel decode`."""

from __future__ import annotations

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    configure_prefect,
    flow_session,
    open_checked_store,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import DecodeSettings


@options_of(DecodeSettings)
def decode(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Train a decoder that reads a game's RAM from its pictures, and log it with its figures to an MLflow run."""
    settings = validated(DecodeSettings, given)
    from tasks.arcade.emulator.environment_ids import resolve, rom_path

    with validating():
        game = resolve(settings.env_id)
        rom_path(game.rom)
    store = open_checked_store(tracking_uri)
    run_ids = []
    for run in settings.runs:
        with validating():
            run_id = store.resolve_run(run)
            trained = store.run(run_id).settings
            store.checkpoints_at(run_id)
        if trained is None or trained.game != game.model_copy(update={"env_id": trained.game.env_id}):
            raise InvalidInputError(
                f"Run {run} does not play {settings.env_id} with its settings: choose a run trained on it"
            )
        run_ids.append(run_id)
    settings = settings.model_copy(update={"runs": tuple(run_ids)})
    configure_prefect()
    with flow_session("flows.decode", as_json, quiet) as terminal:
        from flows.decode import decode as flow

        result = flow(settings)
        lines = [
            *result.summary,
            f"figures: {store.artifact_uri(result.run_id, result.page)}",
            f"decoder: models:/{result.model_id}",
            "`ramreel up` shows both in the browser",
        ]
        terminal.results(lines, result.model_dump())
