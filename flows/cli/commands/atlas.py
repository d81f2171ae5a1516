"""`ramreel atlas`: what each byte of a game's RAM does on the screen."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Env, Experiment, Json, Name, Quiet, TrackingUri
from flows.cli.session import BadInputError, checking, embedded_store, prepare_prefect, running


def atlas(
    env_id: Env,
    states: Annotated[int, typer.Option(help="States of play in which every byte is changed.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the play and of the choice of states.")] = 0,
    run: Annotated[str | None, typer.Option(help="Run whose last checkpoint plays; default: random play.")] = None,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find out what each byte of RAM does on the screen: a picture, a table and JSON, in a run of their own."""
    from tasks.arcade.emulator.emulator import resolve
    from tasks.arcade.inputs.forms import AtlasSettings

    with checking():
        settings = AtlasSettings(env_id=env_id, states=states, seed=seed, run=run, name=name, experiment=experiment)
        rom = resolve(env_id).rom
    store = embedded_store(tracking_uri)
    with checking():
        if run is not None:
            run_id = store.resolve_run(run)
            played = store.run(run_id).settings
            store.checkpoints_at(run_id)
            settings = settings.model_copy(update={"run": run_id})
            if played is None or played.game.rom != rom:
                raise BadInputError(f"run {run} does not play {env_id}: give one that was trained on it")
    prepare_prefect()
    with running("flows.atlas", as_json, quiet) as terminal:
        from flows.atlas import atlas as flow

        drawn = flow(settings)
        kinds = ", ".join(f"{n} {kind}" for kind, n in drawn.kinds.items())
        lines = [
            f"{drawn.states} states, {drawn.pokes:,} changes of a byte: {kinds}",
            f"picture: {store.artifact_uri(drawn.run_id, drawn.sheet)}",
            "`ramreel up` shows it in the browser",
        ]
        terminal.results(lines, drawn.model_dump())
