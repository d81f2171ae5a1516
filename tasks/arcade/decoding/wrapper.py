"""A Gymnasium wrapper that turns pictures into RAM observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from tasks.arcade.decoding.decoder import Decoder, read_decoder
from tasks.arcade.decoding.follower import RamEstimate
from tasks.arcade.decoding.ram_reader import RamReader
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, settings_of
from tasks.arcade.settings.evaluation import PixelMethod


class RamFromPixels(gymnasium.Wrapper[Ram, int, Screen, int]):
    """Observe the 128 bytes of RAM in an environment that returns pictures.

    The RAM of the wrapped environment is never read. A policy that was trained on RAM plays through it from pictures
    alone.

        env = RamFromPixels(gymnasium.make("ALE/Pong-v5"))
        ram, info = env.reset(seed=1)

    `info` gains

    - `ram_confidence`: probability of each byte, float32 of shape (128,).
    - `ram_methods`: how each byte was obtained, a tuple of 128 strings: `followed`; while lost the decoder's
      method, or without a decoder `nearest`.
    - `ram_lost`: whether no state of the second emulator shows the picture. The RAM is then the decoder's, or without
      one that of the state with the nearest picture, with confidence 0.
    - `ram_lost_steps`: number of steps for which that has been so.

    Args:
        env: Environment of ale-py whose observation is the screen in RGB: uint8 of shape (height, width, 3).
        method: `follow`: a second emulator follows pictures and actions (`Follower`), exact where they determine the
            RAM. `decode`: a trained decoder reads the pictures alone, without ROM and actions.
        decoder: Decoder, or its folder, as `ramreel decode` trains it: required by `decode`; with `follow` it takes
            over while the emulator is lost.

    Raises:
        UnknownEnvironmentError: The environment is not one of ale-py's, or does not return the screen.
        DecoderError: The decoder is missing, damaged, or of another game or frame skip.
    """

    def __init__(
        self,
        env: gymnasium.Env[Screen, int],
        method: PixelMethod = "follow",
        decoder: Decoder | Path | str | None = None,
    ) -> None:
        super().__init__(env)
        if method not in ("follow", "decode"):
            raise ValueError(f"method is {method!r} instead of 'follow' or 'decode'")
        if env.spec is None:
            raise UnknownEnvironmentError(f"{env} has no specification. Make it with gymnasium.make")
        if isinstance(decoder, Path | str):
            decoder = read_decoder(Path(decoder))
        self._reader = RamReader(settings_of(env.spec), method, decoder)
        _check_spaces(env, self._reader.screen_shape, self._reader.n_actions)
        self.observation_space = gymnasium.spaces.Box(0, 255, (RAM_SIZE,), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Ram, dict[str, Any]]:
        """Reset the environment; the RAM is that of the game's start.

        Raises:
            UnknownEnvironmentError: The picture has other colors than the start of the game.
            DecoderError: The picture has other colors than those that the decoder was trained on.
        """
        screen, info = self.env.reset(seed=seed, options=options)
        return self._observe(self._reader.reset(screen, reloaded=seed is not None), info)

    def step(self, action: int) -> tuple[Ram, SupportsFloat, bool, bool, dict[str, Any]]:
        """Run one step of the environment; the RAM is inferred from its picture."""
        screen, reward, terminated, truncated, info = self.env.step(action)
        ram, info = self._observe(self._reader.step(int(action), screen), info)
        return ram, reward, terminated, truncated, info

    def _observe(self, estimate: RamEstimate, info: dict[str, Any]) -> tuple[Ram, dict[str, Any]]:
        return estimate.ram, {
            **info,
            "ram_confidence": estimate.confidence,
            "ram_methods": self._reader.methods,
            "ram_lost": estimate.lost,
            "ram_lost_steps": self._reader.lost_steps,
        }


def _check_spaces(env: gymnasium.Env[Screen, int], shape: tuple[int, ...], n_actions: int | None) -> None:
    """Check that observations are unchanged screens, and actions those of the game unless `n_actions` is None."""
    if env.observation_space.shape != shape:
        raise UnknownEnvironmentError(
            f"Observations have shape {env.observation_space.shape} instead of {shape}. Wrap an environment made "
            "with obs_type='rgb', before any wrapper that changes its pictures"
        )
    if n_actions is not None and getattr(env.action_space, "n", None) != n_actions:
        raise UnknownEnvironmentError(
            f"Actions are {env.action_space} instead of Discrete({n_actions}). Wrap the environment before any wrapper "
            "that changes its actions"
        )
