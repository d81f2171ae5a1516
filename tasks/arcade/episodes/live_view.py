"""Live play in a Gymnasium environment that renders the screen, with a player that observes RAM.

A player on pixels needs the frames within a step, which Gymnasium does not give: a second emulator in lockstep does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from tasks.arcade.emulator.emulator import Emulator, Ram
from tasks.arcade.emulator.frame_stack import ObservationBuilder, uses_pixels
from tasks.arcade.emulator.gymnasium_env import make_env, ram_of
from tasks.arcade.episodes.playing import Player
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.game import GameSettings

_SDL_DRIVER = "SDL_VIDEODRIVER"
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
_STDERR = 2


class NoDisplayError(RamreelError):
    """No display is available to open a window on."""


class RamInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds the RAM to `info`, so that a policy trained on RAM can play any ale-py environment.

    `info["ram"]` is the RAM, `info["previous_ram"]` the RAM one step before (equal at a reset): copies, uint8 of shape
    (128,). Apply it outside of wrappers that repeat or skip steps.

    Raises:
        UnknownEnvironmentError: The environment is not one of ale-py's.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._ram: Ram = ram_of(env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env`; adds the RAM to `info`."""
        observation, info = super().reset(seed=seed, options=options)
        self._ram = ram_of(self.env)
        return observation, {**info, "ram": self._ram.copy(), "previous_ram": self._ram.copy()}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env`; adds the RAM to `info`."""
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
    """Play one seeded episode in a Gymnasium environment that renders the screen; equal to `playing.play`.

    Closing the window ends the whole process with status 0: ale-py does that.

    Args:
        player: The player that decides the actions.
        game: Emulator settings.
        seed: Reset seed.
        action_seed: Seed of the generator of the one uniform number per step that the player samples with.
        deterministic: Whether to give the player no uniform number, so that it acts greedily.
        render_mode: `human` opens a window at the console's own speed; `rgb_array` does not.
        max_steps: Maximum steps (default: until the episode ends).

    Returns:
        The episode's return.

    Raises:
        NoDisplayError: No display is available.
        UnknownEnvironmentError: The game cannot be emulated.
    """
    uniforms, emulator = np.random.default_rng(action_seed), Emulator(game, seed) if uses_pixels(player) else None
    observe, decide = ObservationBuilder(player, emulator) if emulator else None, player.start_episode()
    episode_return, steps, ended = 0.0, 0, False
    with _open(game, render_mode) as env:
        _, info = env.reset(seed=seed)
        if emulator:
            emulator.reset(seed)
        while not ended and steps != max_steps:
            uniform = None if deterministic else float(uniforms.random())
            observation, previous = info["ram"], info["previous_ram"]
            if observe:
                observation, previous = observe(observation, episode_start=steps == 0)
            action = decide(observation, previous, uniform)
            _, reward, terminated, truncated, info = env.step(action)
            if emulator:
                emulator.step(action)
            episode_return, steps, ended = episode_return + float(reward), steps + 1, terminated or truncated
    return episode_return


@contextmanager
def _open(game: GameSettings, render_mode: str) -> Iterator[RamInfo]:
    with _require_display() if render_mode == "human" else nullcontext():
        try:
            with _without_native_errors():
                env = make_env(game, obs_type="rgb", render_mode=render_mode)
        except RuntimeError as error:
            if "SDL" not in str(error):
                raise
            raise _no_display() from None
        with closing(RamInfo(env)) as wrapped:
            yield wrapped


def _no_display() -> NoDisplayError:
    return NoDisplayError("No display to open a window on. Use `ramreel record` to record videos instead")


@contextmanager
def _without_native_errors() -> Iterator[None]:
    """Discard standard error of the block: without a sound card, ALSA writes a dozen lines there, of no consequence."""
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    try:
        with open(os.devnull, "wb") as null:  # noqa: PTH123 - a device, not a path
            os.dup2(null.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


@contextmanager
def _require_display() -> Iterator[None]:
    # By default, SDL falls back to an offscreen driver without a display: no window would ever open.
    if not sys.platform.startswith("linux") or _SDL_DRIVER in os.environ:
        yield
        return
    if not any(map(os.environ.get, _DISPLAYS)):
        # SDL would come to the same result, after lines of ALSA about the sound card that it does not find either.
        raise _no_display()
    os.environ[_SDL_DRIVER] = "wayland,x11"
    try:
        yield
    finally:
        del os.environ[_SDL_DRIVER]
