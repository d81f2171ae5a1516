"""A Gymnasium wrapper that turns pictures into RAM observations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, SupportsFloat

import gymnasium
import numpy as np

from tasks.arcade.decoding.decoder import DecodedEpisode, Decoder, DecoderError, read_decoder
from tasks.arcade.decoding.follower import Follower, RamEstimate
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, settings_of
from tasks.arcade.settings.game import GameSettings

Method = Literal["follow", "decode"]
FOLLOWED, NEAREST = "followed", "nearest"
"""Entries of `ram_methods` of a byte that the second emulator determines, and while it is lost without a decoder."""


class RamFromPixels(gymnasium.Wrapper[Ram, int, Screen, int]):
    """Observe the 128 bytes of RAM in an environment that returns pictures.

    The RAM of the wrapped environment is never read. A policy that was trained on RAM plays through it from pictures
    alone.

        env = RamFromPixels(gymnasium.make("ALE/Pong-v5"))
        ram, info = env.reset(seed=1)

    `info` gains

    - `ram_confidence`: probability of each byte, float32 of shape (128,).
    - `ram_methods`: how each byte was obtained, a tuple of 128 strings: `followed`, or the decoder's method.
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
        method: Method = "follow",
        decoder: Decoder | Path | str | None = None,
    ) -> None:
        super().__init__(env)
        if method not in ("follow", "decode"):
            raise ValueError(f"method is {method!r} instead of 'follow' or 'decode'")
        if env.spec is None:
            raise UnknownEnvironmentError(f"{env} has no specification. Make it with gymnasium.make")
        settings = settings_of(env.spec)
        if isinstance(decoder, Path | str):
            decoder = read_decoder(Path(decoder))
        if decoder is not None:
            _check_decoder(decoder, settings)
        elif method == "decode":
            raise DecoderError(f"decode needs a decoder of {settings.env_id}: `ramreel decode` trains one")
        if method == "follow":
            self._follower: Follower | None = Follower(settings)
            shape, n_actions = self._follower.screen_shape, self._follower.n_actions
        else:
            assert decoder is not None
            self._follower = None
            shape, n_actions = (*decoder.description.size, 3), None
        _check_spaces(env, shape, n_actions)
        self._methods = decoder.methods if decoder else (NEAREST,) * RAM_SIZE
        self._decoded = DecodedEpisode(decoder) if decoder else None
        self._known: tuple[Ram, Screen] | None = None
        self._lost_steps = 0
        self.observation_space = gymnasium.spaces.Box(0, 255, (RAM_SIZE,), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Ram, dict[str, Any]]:
        """Reset the environment; the RAM is that of the game's start."""
        screen, info = self.env.reset(seed=seed, options=options)
        self._lost_steps, self._known = 0, None
        if self._follower is None:
            return self._observe(self._decode(screen, start=True), info)
        return self._observe(self._follow(self._follower.reset(screen, reloaded=seed is not None), screen), info)

    def step(self, action: int) -> tuple[Ram, SupportsFloat, bool, bool, dict[str, Any]]:
        """Run one step of the environment; the RAM is inferred from its picture."""
        screen, reward, terminated, truncated, info = self.env.step(action)
        if self._follower is None:
            estimate = self._decode(screen, start=False)
        else:
            estimate = self._follow(self._follower.step(int(action), screen), screen)
        ram, info = self._observe(estimate, info)
        return ram, reward, terminated, truncated, info

    def _follow(self, estimate: RamEstimate, screen: Screen) -> RamEstimate:
        """Return the followed RAM, or the decoder's while the second emulator is lost."""
        if not estimate.lost:
            self._lost_steps, self._known = 0, (estimate.ram, screen)
            return estimate
        self._lost_steps += 1
        if self._decoded is None:
            return estimate
        if self._lost_steps == 1 and self._known is not None:
            self._decoded.resume(*self._known)
        decoded = self._decode(screen, start=self._known is None and self._lost_steps == 1)
        return RamEstimate(decoded.ram, decoded.confidence, lost=True, n_hypotheses=estimate.n_hypotheses)

    def _decode(self, screen: Screen, *, start: bool) -> RamEstimate:
        assert self._decoded is not None
        return self._decoded.reset(screen) if start else self._decoded.step(screen)

    def _observe(self, estimate: RamEstimate, info: dict[str, Any]) -> tuple[Ram, dict[str, Any]]:
        followed = self._follower is not None and not estimate.lost
        return estimate.ram, {
            **info,
            "ram_confidence": estimate.confidence,
            "ram_methods": (FOLLOWED,) * RAM_SIZE if followed else self._methods,
            "ram_lost": estimate.lost,
            "ram_lost_steps": self._lost_steps,
        }


def _check_decoder(decoder: Decoder, settings: GameSettings) -> None:
    own = decoder.description.game
    for name in ("rom", "frame_skip", "mode", "difficulty"):
        trained, wanted = getattr(own, name), getattr(settings, name)
        if trained != wanted:
            raise DecoderError(
                f"the decoder was trained on {own.env_id} with {name.replace('_', ' ')} {trained}, but "
                f"{settings.env_id} has {wanted}: choose a decoder of this game and these settings"
            )


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
