"""A Gymnasium wrapper that turns pictures into RAM observations."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from tasks.arcade.decoding.follower import Follower, RamEstimate
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, settings_of


class RamFromPixels(gymnasium.Wrapper[Ram, int, Screen, int]):
    """Observe the 128 bytes of RAM in an environment that returns pictures.

    A second emulator follows the pictures (`Follower`); the RAM of the wrapped environment is never read. A policy that
    was trained on RAM plays through it from pictures alone.

        env = RamFromPixels(gymnasium.make("ALE/Pong-v5"))
        ram, info = env.reset(seed=1)

    `info` gains `ram_confidence`, the probability of each byte (float32 of shape (128,)), and `ram_lost`, whether no
    state of the emulator shows the picture; the RAM is then the nearest one's and its confidence 0.

    Args:
        env: Environment of ale-py whose observation is the screen in RGB: uint8 of shape (height, width, 3).

    Raises:
        UnknownEnvironmentError: The environment is not one of ale-py's, or does not return the screen.
    """

    def __init__(self, env: gymnasium.Env[Screen, int]) -> None:
        super().__init__(env)
        if env.spec is None:
            raise UnknownEnvironmentError(f"{env} has no specification. Make it with gymnasium.make")
        self._follower = Follower(settings_of(env.spec))
        shape = self._follower.screen_shape
        if env.observation_space.shape != shape:
            raise UnknownEnvironmentError(
                f"Observations have shape {env.observation_space.shape} instead of {shape}. Wrap an environment made "
                "with obs_type='rgb', before any wrapper that changes its pictures"
            )
        if getattr(env.action_space, "n", None) != self._follower.n_actions:
            raise UnknownEnvironmentError(
                f"Actions are {env.action_space} instead of Discrete({self._follower.n_actions}). Wrap the environment "
                "before any wrapper that changes its actions"
            )
        self.observation_space = gymnasium.spaces.Box(0, 255, (RAM_SIZE,), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Ram, dict[str, Any]]:
        """Reset the environment; the RAM is that of the game's start."""
        screen, info = self.env.reset(seed=seed, options=options)
        return self._observe(self._follower.reset(screen, reloaded=seed is not None), info)

    def step(self, action: int) -> tuple[Ram, SupportsFloat, bool, bool, dict[str, Any]]:
        """Run one step of the environment; the RAM is inferred from its picture."""
        screen, reward, terminated, truncated, info = self.env.step(action)
        ram, info = self._observe(self._follower.step(int(action), screen), info)
        return ram, reward, terminated, truncated, info

    def _observe(self, estimate: RamEstimate, info: dict[str, Any]) -> tuple[Ram, dict[str, Any]]:
        return estimate.ram, {**info, "ram_confidence": estimate.confidence, "ram_lost": estimate.lost}
