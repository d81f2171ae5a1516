"""Resolution of an input model to the settings of a run."""

from __future__ import annotations

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import RunSettings


def run_settings(asked: TrainSettings) -> RunSettings:
    """What was asked for, resolved: game and approach by their names, with what was overridden.

    Raises:
        UnknownEnvironmentError: no such environment id, or one without RAM.
        UnknownApproachError: no such approach.
    """
    settings = approach(asked.approach) if isinstance(asked.approach, str) else asked.approach
    if asked.n_envs is not None:
        settings = settings.model_copy(update={"n_envs": asked.n_envs})
    return RunSettings(
        game=resolve(asked.env_id),
        approach=settings,
        seed=asked.seed,
        steps=asked.steps,
        checkpoint_every=asked.checkpoint_every,
    )
