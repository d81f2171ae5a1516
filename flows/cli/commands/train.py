"""`ramreel train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.options import OPTIONS, Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    configure_prefect,
    flow_session,
    open_checked_store,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings

if TYPE_CHECKING:
    from flows.cli.terminal import Terminal
    from flows.train import TrainedRun

SettingsFile = Annotated[
    str | None,
    Parameter(
        name="--settings",
        metavar="FILE",
        group=OPTIONS,
        help="Settings file (TOML) of a user-defined approach; with --approach, based on that approach",
    ),
]
Resume = Annotated[
    str | None,
    Parameter(
        metavar="RUN",
        group=OPTIONS,
        help="Resume this run from its last checkpoint, with its own settings; --steps extends it",
    ),
]


@options_of(TrainSettings, optional=("env_id",))
def train(
    given: Given,
    *,
    settings_file: SettingsFile = None,
    resume: Resume = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an approach on a game's RAM, with checkpoints in MLflow; or resume a training run, bit-for-bit."""
    if resume is not None:
        unused = given | ({} if settings_file is None else {"settings": settings_file})
        _resume(resume, unused, tracking_uri, as_json=as_json, quiet=quiet)
        return
    from tasks.arcade.inputs.resolve import run_settings
    from tasks.arcade.inputs.settings_file import read_settings_file

    if "env_id" not in given:
        raise InvalidInputError("No environment id: name a game, e.g. ALE/Pong-v5, or resume a run with --resume RUN")
    if settings_file is not None:
        with validating():
            own = read_settings_file(Path(settings_file), given.get("approach"))
        steps = {"steps": own.n_timesteps} if own.n_timesteps else {}
        given = steps | given | {"approach": own.approach}
    settings = validated(TrainSettings, given)
    with validating():
        run_settings(settings)
    open_checked_store(tracking_uri)
    configure_prefect()
    with flow_session("flows.train", as_json, quiet) as terminal:
        from flows.train import train as flow

        _print(terminal, flow(settings))


def _resume(run: str, given: Given, tracking_uri: str | None, *, as_json: bool, quiet: bool) -> None:
    from tasks.runs.lookup import require_resumable

    if fixed := [name for name in given if name not in ResumeSettings.model_fields]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in fixed).replace("--env-id", "ENV")
        raise InvalidInputError(f"--resume keeps the run's own settings: leave out {names}")
    settings = validated(ResumeSettings, given | {"run": run})
    store = open_checked_store(tracking_uri)
    with validating():
        run_id = store.resolve_run(run)
        require_resumable(store, run_id)
    settings = settings.model_copy(update={"run": run_id})
    configure_prefect()
    with flow_session("flows.train", as_json, quiet) as terminal:
        from flows.train import resume as flow

        _print(terminal, flow(settings))


def _print(terminal: Terminal, trained: TrainedRun) -> None:
    mean = "no finished episode" if trained.mean_return is None else f"mean return {trained.mean_return:.1f}"
    terminal.results(
        [
            f"trained {trained.run_name} ({trained.run_id}): {trained.steps:,} steps, {mean}",
            f"checkpoints: {len(trained.checkpoints)}; to record them: ramreel record {trained.run_id[:8]}",
        ],
        trained.model_dump()
        | {
            "checkpoints": [saved.step for saved in trained.checkpoints],
            "checkpoint_digest": trained.checkpoints[-1].digest,
        },
    )
