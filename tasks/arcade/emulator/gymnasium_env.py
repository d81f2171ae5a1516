"""Gymnasium's own environment (ale-py's `AtariEnv`) for the same settings, and the RAM behind it."""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium
import numpy as np

from tasks.arcade.emulator.emulator import Ram, silence_ale
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, base_id
from tasks.arcade.settings.game import GameSettings


def make_env(settings: GameSettings, obs_type: str = "ram", render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Return ale-py's `AtariEnv` with the given settings.

    Args:
        settings: Emulator settings.
        obs_type: `ram`, `rgb` or `grayscale`.
        render_mode: `rgb_array`, `human` or None.
    """
    silence_ale()
    return gymnasium.make(
        base_id(settings),
        obs_type=obs_type,
        render_mode=render_mode,
        frameskip=settings.frame_skip,
        repeat_action_probability=settings.repeat_action_probability,
        full_action_space=settings.full_action_space,
        mode=settings.mode,
        difficulty=settings.difficulty,
        max_num_frames_per_episode=settings.max_episode_frames,
    )


def ram_of(env: gymnasium.Env[Any, Any]) -> Ram:
    """Return a copy of the RAM behind a Gymnasium environment: uint8 of shape (128,).

    Raises:
        UnknownEnvironmentError: The environment is not one of ale-py's.
    """
    emulator = getattr(env.unwrapped, "ale", None)
    if not isinstance(emulator, ale_py.ALEInterface):
        raise UnknownEnvironmentError(f"{env} has no Atari RAM. Use an environment of ale-py, e.g. ALE/Pong-v5")
    return np.asarray(emulator.getRAM())
