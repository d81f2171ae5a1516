"""Gymnasium's own environment (ale-py's `AtariEnv`) for the same settings."""

from __future__ import annotations

from typing import Any

import gymnasium

from tasks.arcade.emulator.emulator import silence_ale
from tasks.arcade.emulator.environment_ids import base_id
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
