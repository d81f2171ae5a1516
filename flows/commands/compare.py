"""`ramreel compare` and `pipeline`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.asking import (
    Env,
    Episodes,
    Every,
    Experiment,
    Json,
    Name,
    NEnvs,
    Quiet,
    Steps,
    TrackingUri,
    Workers,
    checking,
    embedded_store,
    evaluation,
    listed,
    numbers,
    prepare_prefect,
    running,
)

if TYPE_CHECKING:
    from tasks.compare import ComparedRuns
    from tasks.store import Store


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs of one game.")],
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs by approach, across seeds: a report with curves and films, in a run of its own."""
    from tasks.arcade.settings import CompareSettings
    from tasks.runs import comparable

    store = embedded_store(tracking_uri)
    with checking():
        settings = CompareSettings(runs=comparable(store, tuple(runs)), name=name, experiment=experiment)
    prepare_prefect()
    from flows.compare import compare as flow

    with running(as_json, quiet) as terminal:
        compared = flow(settings)
        terminal.results(_comparison(store, compared), compared.model_dump())


def _comparison(store: Store, compared: ComparedRuns) -> list[str]:
    films = [f"films:  {store.artifact_uri(run_id, 'films')}" for run_id in compared.runs]
    report = f"report: {store.artifact_uri(compared.run_id, compared.report)}"
    return [compared.verdict, *films, report, "`ramreel up` shows them in the browser"]


def pipeline(
    env_id: Env,
    approaches: Annotated[str, typer.Option(help="Approaches, with commas between.")] = "ppo-tuned,ppo",
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0",
    steps: Steps = 1_000_000,
    checkpoint_every: Every = 100_000,
    episodes: Episodes = 10,
    n_envs: NEnvs = None,
    workers: Workers = None,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train approaches with several seeds, film every checkpoint, compare: all in one flow."""
    from tasks.arcade.approaches import run_settings
    from tasks.arcade.settings import PipelineSettings, TrainSettings

    with checking():
        settings = PipelineSettings(
            env_id=env_id,
            approaches=listed(approaches),
            seeds=numbers("seeds", seeds),
            steps=steps,
            checkpoint_every=checkpoint_every,
            n_envs=n_envs,
            workers=workers,
            evaluation=evaluation(episodes, 0, False),
            experiment=experiment,
            name=name,
        )
        for approach in settings.approaches:
            for seed in settings.seeds:
                run_settings(TrainSettings(env_id=env_id, approach=approach, seed=seed, n_envs=n_envs))
    store = embedded_store(tracking_uri)
    prepare_prefect()
    from flows.pipeline import pipeline as flow

    with running(as_json, quiet) as terminal:
        compared = flow(settings)
        terminal.results(_comparison(store, compared), compared.model_dump())
