"""`ramreel sweep`."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Env, Experiment, Json, Name, Quiet, TrackingUri, Workers, listed
from flows.cli.session import checking, embedded_store, prepare_prefect, running


def sweep(
    env_id: Env,
    approach: Annotated[str, typer.Option(help="The approach whose hyper-parameters are searched for.")] = "ppo-tuned",
    parameters: Annotated[str, typer.Option(help="Which of them, with commas between; default: all.")] = "",
    trials: Annotated[int, typer.Option(help="Trainings in all, those of earlier sittings too.")] = 20,
    steps: Annotated[int, typer.Option(help="Environment steps of each training.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Seed of every training, and of the search.")] = 0,
    workers: Workers = None,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for an approach's hyper-parameters with Optuna; goes on where it was stopped."""
    from tasks.arcade import tuning as search
    from tasks.arcade.emulator.emulator import resolve
    from tasks.store import BEST_SETTINGS, study_file

    store = embedded_store(tracking_uri)
    with checking():
        settings = search.SweepSettings(
            env_id=env_id,
            approach=approach,
            parameters=listed(parameters),
            trials=trials,
            steps=steps,
            seed=seed,
            workers=workers,
            name=name,
            experiment=experiment,
        )
        search.parameters(settings)
        resolve(env_id)
        if study_file(store).exists():
            with search.opened(study_file(store), settings):
                pass
    prepare_prefect()
    with running("flows.sweep", as_json, quiet) as terminal:
        from flows.sweep import sweep as flow

        swept = flow(settings)
        lines = [f"report: {store.artifact_uri(swept.run_id, swept.report)}"]
        if swept.best:
            given = ", ".join(f"{word} {value}" for word, value in swept.best.given.items())
            lines = [
                f"best of {len(swept.trials)} trials: mean return {swept.best.value:.1f} with {given}",
                f"its settings, to be trained with other seeds: {store.artifact_uri(swept.run_id, BEST_SETTINGS)}",
                *lines,
            ]
        terminal.results(lines, swept.model_dump())
