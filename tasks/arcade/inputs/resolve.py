"""Resolution of an input model to the settings of a run."""

from __future__ import annotations

from tasks.arcade.emulator.environment_ids import resolve, rom_path
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import RunSettings


def run_settings(settings: TrainSettings) -> RunSettings:
    """Return the settings of a training run: game and approach resolved by name, with the overridden n_envs.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or the environment has no Atari RAM.
        UnknownApproachError: the approach is unknown.
        RomError: the ROM of the game cannot be read.
    """
    game = resolve(settings.env_id)
    rom_path(game.rom)
    own = approach(settings.approach) if isinstance(settings.approach, str) else settings.approach
    if settings.n_envs is not None:
        own = own.model_copy(update={"n_envs": settings.n_envs})
    return RunSettings(
        game=game,
        approach=own,
        seed=settings.seed,
        steps=settings.steps,
        checkpoint_every=settings.checkpoint_every,
    )
