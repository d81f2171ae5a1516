"""`ramreel pipeline`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.commands.compare import comparison_lines
from flows.cli.options import OPTIONS, Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    configure_prefect,
    flow_session,
    open_checked_store,
    validated,
    validating,
)
from tasks.arcade.inputs.forms import PipelineSettings

if TYPE_CHECKING:
    from tasks.arcade.inputs.settings_file import UserApproach

SettingsFiles = Annotated[
    tuple[str, ...] | None,
    Parameter(
        name="--settings",
        metavar="FILE",
        group=OPTIONS,
        help="Settings file (TOML) of a user-defined approach to train as well; repeatable. Without --approaches it is "
        "compared with the approach that it is based on, and without --steps all train for its n_timesteps",
    ),
]


@options_of(PipelineSettings)
def pipeline(
    given: Given,
    *,
    settings_files: SettingsFiles = None,
    tracking_uri: TrackingUri = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train approaches with several seeds, record every checkpoint, and compare the runs, in one flow."""
    from tasks.arcade.inputs.forms import TrainSettings
    from tasks.arcade.inputs.resolve import run_settings
    from tasks.arcade.inputs.settings_file import read_settings_file

    with validating():
        own = [read_settings_file(Path(file)) for file in settings_files or ()]
    settings = validated(PipelineSettings, _with_settings_files(given, own))
    announce(f"pipeline {settings.title}", quiet=quiet)
    with validating():
        common = settings.model_dump(include={"env_id", "n_envs", "steps"})
        resolved = [run_settings(TrainSettings(**common, approach=approach)) for approach in settings.approaches]
        rounded = [f"{run.approach.name}: {run.rounding}" for run in resolved if run.rounding]
    store = open_checked_store(tracking_uri)
    configure_prefect()
    with flow_session("flows.pipeline", as_json, quiet, *rounded) as terminal:
        from flows.pipeline import pipeline as flow

        compared = flow(settings)
        terminal.results(comparison_lines(store, compared), compared.model_dump())


def _with_settings_files(given: Given, own: list[UserApproach]) -> Given:
    """Add user-defined approaches, by default together with those that they are based on, and their n_timesteps."""
    if not own:
        return given
    named = given.get("approaches") or dict.fromkeys(one.based_on for one in own)
    return _common_steps(own, given) | given | {"approaches": (*named, *(one.approach for one in own))}


def _common_steps(own: list[UserApproach], given: Given) -> Given:
    """Return the steps of all runs, if the files have any: runs of different lengths cannot be compared."""
    steps = {one.n_timesteps for one in own if one.n_timesteps is not None}
    if len(steps) > 1 and "steps" not in given:
        raise InvalidInputError(
            f"The settings files have different n_timesteps, {sorted(steps)}: choose one with --steps"
        )
    return {"steps": steps.pop()} if len(steps) == 1 else {}
