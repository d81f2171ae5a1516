"""`ramreel compare` and `pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    Env,
    Episodes,
    Every,
    Experiment,
    Json,
    Name,
    NEnvs,
    Quiet,
    TrackingUri,
    Workers,
    evaluation,
    listed,
    numbers,
)
from flows.cli.session import BadInputError, checking, embedded_store, prepare_prefect, running

WORSE = 3
"""The exit code of a comparison that came out worse."""
if TYPE_CHECKING:
    from tasks.arcade.inputs.settings_file import Own
    from tasks.compare import ComparedRuns
    from tasks.store import Store


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs of one game.")],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN|champion", help="A run, or the game's champion, to be held against; several: again."),
    ] = None,
    normalized: Annotated[
        bool, typer.Option("--normalized", help="Several games, or settings, in human-normalized scores.")
    ] = False,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare runs by approach, across seeds: a report with curves and videos, in a run of its own."""
    from tasks.arcade.inputs.forms import CompareSettings
    from tasks.runs.comparability import CHAMPION, contenders

    store = embedded_store(tracking_uri)
    with checking():
        found = contenders(store, runs, against or (), normalized=normalized)
        settings = CompareSettings(
            runs=found.runs,
            against=(found.called,) if found.called == CHAMPION else found.baseline,
            normalized=normalized,
            name=name,
            experiment=experiment,
        )
    prepare_prefect()
    with running("flows.compare", as_json, quiet) as terminal:
        from flows.compare import compare as flow

        compared = flow(settings)
        terminal.results(_comparison(store, compared), compared.model_dump())
    if compared.worse:
        raise typer.Exit(WORSE)


def _comparison(store: Store, compared: ComparedRuns) -> list[str]:
    videos = [f"videos:  {store.artifact_uri(run_id, 'videos')}" for run_id in compared.runs]
    report = f"report: {store.artifact_uri(compared.run_id, compared.report)}"
    return [compared.verdict, *videos, report, "`ramreel up` shows them in the browser"]


def pipeline(
    env_id: Env,
    approaches: Annotated[
        str | None,
        typer.Option(help="Approaches, with commas between; default: FILE's own basis, or ppo-tuned,ppo."),
    ] = None,
    settings_files: Annotated[
        list[Path] | None,
        typer.Option("--settings", metavar="FILE", help="An approach of your own beside them, TOML; several: again."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, with commas between.")] = "0",
    steps: Annotated[
        int | None, typer.Option(help="Environment steps of each training; default: 1,000,000, or FILE's n_timesteps.")
    ] = None,
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
    """Train approaches with several seeds, video every checkpoint, compare: all in one flow."""
    from tasks.arcade.inputs.forms import PipelineSettings, TrainSettings
    from tasks.arcade.inputs.resolve import run_settings
    from tasks.arcade.inputs.settings_file import read

    with checking():
        own = [read(path) for path in settings_files or ()]
        named = listed(approaches) if approaches is not None else _beside(own)
        settings = PipelineSettings(
            env_id=env_id,
            approaches=(*named, *(one.approach for one in own)),
            seeds=numbers("seeds", seeds),
            steps=_steps(own) if steps is None else steps,
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
    with running("flows.pipeline", as_json, quiet) as terminal:
        from flows.pipeline import pipeline as flow

        compared = flow(settings)
        terminal.results(_comparison(store, compared), compared.model_dump())


def _beside(own: list[Own]) -> tuple[str, ...]:
    """The approaches that a user's own are held against, unless others are named: what they build on."""
    return tuple(dict.fromkeys(one.based_on for one in own)) or ("ppo-tuned", "ppo")


def _steps(own: list[Own]) -> int:
    """Everyone trains as long as the files say: more steps for one would be no comparison."""
    asked = {one.n_timesteps for one in own if one.n_timesteps is not None}
    if len(asked) > 1:
        raise BadInputError(f"the files ask for different n_timesteps, {sorted(asked)}: give --steps for all of them")
    return asked.pop() if asked else 1_000_000
