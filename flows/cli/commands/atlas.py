"""`ramreel atlas`."""

from __future__ import annotations

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    configure_prefect,
    flow_session,
    open_checked_store,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import AtlasSettings
from tasks.arcade.plural_forms import pluralize


@options_of(AtlasSettings)
def atlas(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Map each byte of a game's RAM to its effect on the screen, and log a picture, table and JSON to an MLflow run."""
    settings = validated(AtlasSettings, given)
    announce(f"atlas of {settings.title}", quiet=quiet)
    from tasks.arcade.emulator.environment_ids import resolve, rom_path

    with validating():
        rom = resolve(settings.env_id).rom
        rom_path(rom)
    store = open_checked_store(tracking_uri)
    if settings.run is not None:
        with validating():
            run_id = store.resolve_run(settings.run)
            trained = store.run(run_id).settings
            store.checkpoints_at(run_id)
        if trained is None or trained.game.rom != rom:
            raise InvalidInputError(f"Run {settings.run} does not play {settings.env_id}: choose a run trained on it")
        settings = settings.model_copy(update={"run": run_id})
    configure_prefect()
    with flow_session("flows.atlas", as_json, quiet) as terminal:
        from flows.atlas import atlas as flow

        drawn = flow(settings)
        kinds = ", ".join(f"{n} {kind}" for kind, n in drawn.kinds.items())
        lines = [
            f"{pluralize(drawn.states, 'state')}, {pluralize(drawn.perturbations, 'changed byte')}: {kinds}",
            f"picture: {store.artifact_uri(drawn.run_id, drawn.poster)}",
            "`ramreel up` shows it in the browser",
        ]
        terminal.results(lines, drawn.model_dump())
