"""`ramreel train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.cli.options import OPTIONS, Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    configure_prefect,
    flow_session,
    open_checked_store,
    open_terminal,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings

if TYPE_CHECKING:
    from flows.cli.terminal import Terminal
    from tasks.store import StoredCheckpoint
    from tasks.train import SavedCheckpoint

_MEAN_RETURN = "rollout/ep_rew_mean"

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
    announce(f"train {settings.title}", quiet=quiet)
    with validating():
        rounding = run_settings(settings).rounding
    open_checked_store(tracking_uri)
    configure_prefect()
    with flow_session("flows.train", as_json, quiet, rounding) as terminal:
        from flows.train import train as flow

        trained = flow(settings)
        _print(terminal, trained.model_dump(), trained.checkpoints)


def _resume(run: str, given: Given, tracking_uri: str | None, *, as_json: bool, quiet: bool) -> None:
    from tasks.runs.lookup import last_checkpoint_of_finished, require_resumable

    if fixed := [name for name in given if name not in ResumeSettings.model_fields]:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in fixed).replace("--env-id", "ENV")
        raise InvalidInputError(f"--resume keeps the run's own settings: leave out {names}")
    settings = validated(ResumeSettings, given | {"run": run})
    announce(f"resume {settings.title}", quiet=quiet)
    store = open_checked_store(tracking_uri)
    with validating():
        run_id = store.resolve_run(run)
        found = require_resumable(store, run_id)
    if last := last_checkpoint_of_finished(store, found, settings.steps):
        with open_terminal(as_json, quiet) as terminal:
            terminal.log(f"{found.name} was trained to step {last.step:,} before: --steps extends it")
            values = {"run_name": found.name, "steps": last.step, "mean_return": found.metrics.get(_MEAN_RETURN)}
            speed = {"steps_per_second": 0.0, "pipeline_share": 0.0}
            _print(terminal, {"run_id": run_id, **values, **speed}, store.list_checkpoints(run_id))
        return
    settings = settings.model_copy(update={"run": run_id})
    configure_prefect()
    with flow_session("flows.train", as_json, quiet) as terminal:
        from flows.train import resume as flow

        trained = flow(settings)
        _print(terminal, trained.model_dump(), trained.checkpoints)


def _print(
    terminal: Terminal, trained: Mapping[str, Any], checkpoints: Sequence[SavedCheckpoint | StoredCheckpoint]
) -> None:
    """Print a training run.

    Args:
        terminal: the terminal.
        trained: the keys of the JSON object but those of the checkpoints.
        checkpoints: all checkpoints of the run.
    """
    run_id, mean_return = trained["run_id"], trained["mean_return"]
    mean = "no finished episode" if mean_return is None else f"mean return {mean_return:.1f}"
    terminal.results(
        [
            f"trained {trained['run_name']} ({run_id}): {trained['steps']:,} steps, {mean}",
            f"checkpoints: {len(checkpoints)}; to record them: ramreel record {run_id[:8]}",
        ],
        {**trained, "checkpoints": [saved.step for saved in checkpoints], "checkpoint_digest": checkpoints[-1].digest},
    )
