"""`ramreel sweep`."""

from __future__ import annotations

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import announce, configure_prefect, flow_session, open_checked_store, validated, validating
from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.plural_forms import pluralize


@options_of(SweepSettings)
def sweep(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Search for an approach's hyperparameters with Optuna; a sweep that was interrupted resumes."""
    settings = validated(SweepSettings, given)
    announce(settings.title, quiet=quiet)
    from tasks.arcade.emulator.environment_ids import resolve, rom_path
    from tasks.arcade.tuning import search_space, storage, study
    from tasks.store import BEST_SETTINGS, study_uri

    store = open_checked_store(tracking_uri)
    with validating():
        search_space.searched_parameters(settings)
        rom_path(resolve(settings.env_id).rom)
        if storage.exists(uri := study_uri(store)):
            with study.open_study(uri, settings):
                pass
    configure_prefect()
    with flow_session("flows.sweep", as_json, quiet) as terminal:
        from flows.sweep import sweep as flow

        swept = flow(settings)
        lines = [f"report: {store.artifact_uri(swept.run_id, swept.report)}"]
        if swept.best:
            values = ", ".join(f"{name} {value}" for name, value in swept.best.params.items())
            lines = [
                f"best of {pluralize(len(swept.trials), 'trial')}: mean return {swept.best.value:.1f} with {values}",
                f"settings file to train it with other seeds: {store.artifact_uri(swept.run_id, BEST_SETTINGS)}",
                *lines,
            ]
        terminal.results(lines, swept.model_dump())
