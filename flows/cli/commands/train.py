"""`ramreel train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import ENV_HELP, Experiment, Json, Name, NEnvs, Quiet, TrackingUri, Workers
from flows.cli.session import BadInputError, checking, embedded_store, prepare_prefect, running


def train(
    env_id: Annotated[str | None, typer.Argument(help=ENV_HELP)] = None,
    approach: Annotated[str | None, typer.Option(help="A named way to train; default: ppo-tuned.")] = None,
    settings_file: Annotated[
        Path | None,
        typer.Option("--settings", metavar="FILE", help="An approach of your own: TOML, on top of a named one."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run; default: 0.")] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps in all; default: 1,000,000.")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps between checkpoints; default: 100,000.")] = None,
    n_envs: NEnvs = None,
    workers: Workers = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run, from its last checkpoint.")
    ] = None,
    name: Name = None,
    experiment: Experiment = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an approach on a game's RAM, with checkpoints in MLflow; or go on with a training, to the bit."""
    asked: dict[str, Any] = {
        "env_id": env_id,
        "approach": approach,
        "settings": settings_file,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
        "n_envs": n_envs,
        "name": name,
        "experiment": experiment,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    shared = {key: value for key, value in (("steps", steps), ("workers", workers)) if value is not None}
    if resume is not None:
        _resume(resume, given, shared, tracking_uri, as_json=as_json, quiet=quiet)
        return
    from tasks.arcade.inputs.forms import TrainSettings
    from tasks.arcade.inputs.resolve import run_settings
    from tasks.arcade.inputs.settings_file import read

    if env_id is None:
        raise BadInputError("give an environment id, e.g. ALE/Pong-v5, or --resume RUN")
    with checking():
        if settings_file is not None:
            own = read(given.pop("settings"), approach)
            given |= {"approach": own.approach}
            shared = ({"steps": own.n_timesteps} if own.n_timesteps else {}) | shared
        settings = TrainSettings.model_validate(given | shared)
        run_settings(settings)
    embedded_store(tracking_uri)
    prepare_prefect()
    with running("flows.train", as_json, quiet) as terminal:
        from flows.train import train as flow

        _trained(terminal, flow(settings))


if TYPE_CHECKING:
    from flows.cli.terminal import Terminal
    from flows.train import TrainedRun


def _resume(
    run: str, given: dict[str, Any], shared: dict[str, Any], tracking_uri: str | None, *, as_json: bool, quiet: bool
) -> None:
    from tasks.arcade.inputs.forms import ResumeSettings
    from tasks.runs.lookup import resumable

    if given:
        names = ", ".join(name.replace("_", "-") for name in given)
        raise BadInputError(f"--resume goes on with the run's own settings: leave out {names}")
    store = embedded_store(tracking_uri)
    with checking():
        run_id = store.resolve_run(run)
        settings = ResumeSettings(run=run_id, **shared)
        resumable(store, run_id)
    prepare_prefect()
    with running("flows.train", as_json, quiet) as terminal:
        from flows.train import resume as flow

        _trained(terminal, flow(settings))


def _trained(terminal: Terminal, trained: TrainedRun) -> None:
    mean = "no episode has ended" if trained.mean_return is None else f"mean return {trained.mean_return:.1f}"
    terminal.results(
        [
            f"trained {trained.run_name} ({trained.run_id}): {trained.steps:,} steps, {mean}",
            f"checkpoints: {len(trained.checkpoints)}; video them: ramreel record {trained.run_id[:8]}",
        ],
        trained.model_dump()
        | {
            "checkpoints": [saved.step for saved in trained.checkpoints],
            "checkpoint_digest": trained.checkpoints[-1].digest,
        },
    )
