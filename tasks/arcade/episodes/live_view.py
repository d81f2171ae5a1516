"""Gymnasium's side of the same claim: a player of RAM, fed by an environment whose observation is the picture.

A player on pixels sees frames between two of Gymnasium's steps: an emulator that plays the same beside it shows them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from tasks.arcade.emulator.emulator import Emulator, Ram, make_env, ram_of
from tasks.arcade.emulator.frame_stack import ObservationBuilder, uses_pixels
from tasks.arcade.episodes.playing import Player
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.game import GameSettings

_SDL_DRIVER = "SDL_VIDEODRIVER"


class NoScreenError(RamreelError):
    """There is no screen to open a window on."""


class RamInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Puts the RAM behind every observation into `info`: a policy trained on RAM can play what shows pictures.

    `info["ram"]` is the RAM, `info["previous_ram"]` the RAM one step before (at a reset the same): copies, uint8 of
    shape (128,). Where other wrappers play several of the environment's steps as one, put this one around them.

    Raises:
        UnknownGameError: the environment is not ale-py's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._ram: Ram = ram_of(env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As Gymnasium has it, with the RAM in `info`."""
        observation, info = super().reset(seed=seed, options=options)
        self._ram = ram_of(self.env)
        return observation, {**info, "ram": self._ram.copy(), "previous_ram": self._ram.copy()}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """As Gymnasium has it, with the RAM in `info`."""
        observation, reward, terminated, truncated, info = super().step(action)
        previous, self._ram = self._ram, ram_of(self.env)
        return observation, reward, terminated, truncated, {**info, "ram": self._ram.copy(), "previous_ram": previous}


def watch(
    player: Player,
    game: GameSettings,
    seed: int,
    *,
    action_seed: int,
    deterministic: bool,
    render_mode: str = "human",
    max_steps: int | None = None,
) -> float:
    """Play one seeded episode in Gymnasium's environment of pictures; what happens is what `episode.play` plays.

    Closing the window ends the whole process, with status 0: ale-py does that.

    Args:
        player: decides the actions, from `info["ram"]` or from pictures.
        game: what is played.
        seed: of the reset.
        action_seed: of the generator that gives `player` one uniform number a step.
        deterministic: give it none.
        render_mode: `human` opens a window, at the console's own speed; `rgb_array` does not.
        max_steps: stop after so many; none: at the game's end.

    Returns:
        The episode's return.

    Raises:
        NoScreenError: there is nothing to open a window on.
        UnknownGameError: the game cannot be emulated.
    """
    uniforms, twin = np.random.default_rng(action_seed), Emulator(game, seed) if uses_pixels(player) else None
    senses, decide = ObservationBuilder(player, twin) if twin else None, player.begin()
    episode_return, steps, ended = 0.0, 0, False
    with _open(game, render_mode) as env:
        _, info = env.reset(seed=seed)
        if twin:
            twin.reset(seed)
        while not ended and steps != max_steps:
            uniform = None if deterministic else float(uniforms.random())
            seen, previous = info["ram"], info["previous_ram"]
            if senses:
                seen, previous = senses(seen, starts=steps == 0)
            action = decide(seen, previous, uniform)
            _, reward, terminated, truncated, info = env.step(action)
            if twin:
                twin.step(action)
            episode_return, steps, ended = episode_return + float(reward), steps + 1, terminated or truncated
    return episode_return


@contextmanager
def _open(game: GameSettings, render_mode: str) -> Iterator[RamInfo]:
    with _windows_only() if render_mode == "human" else nullcontext():
        try:
            env = make_env(game, obs_type="rgb", render_mode=render_mode)
        except RuntimeError as error:
            if "SDL" not in str(error):
                raise
            raise NoScreenError(
                "there is no screen to open a window on: `ramreel record` makes videos instead"
            ) from None
        with closing(RamInfo(env)) as wrapped:
            yield wrapped


@contextmanager
def _windows_only() -> Iterator[None]:
    # Left to itself, SDL draws into memory where it finds no display, and a person waits for a window in vain.
    if not sys.platform.startswith("linux") or _SDL_DRIVER in os.environ:
        yield
        return
    os.environ[_SDL_DRIVER] = "wayland,x11"
    try:
        yield
    finally:
        del os.environ[_SDL_DRIVER]
