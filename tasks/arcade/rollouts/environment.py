"""One training environment: emulator, action generator and snapshots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import Emulator, EpisodeStart, Ram
from tasks.arcade.emulator.frame_stack import FrameStack, FrameStacker
from tasks.arcade.policies.actor_critic import Floats
from tasks.arcade.settings.game import GameSettings

LOGIT_NOISE = "logit_noise"
"""Key of the logit noise's standard deviation among the weights sent to the workers: float32 of shape ()."""


@dataclass(frozen=True)
class EnvironmentState:
    """Snapshot of an environment in mid-episode, restored by replaying the actions from the episode's start.

    An emulator state cloned in mid-episode is not exact: ALE omits the last executed action, which a sticky action
    repeats.

    Attributes:
        start: the emulator at the episode's start.
        actions: the actions since.
        action_generator: state of the generator that samples actions.
        recurrent_state: float32 bytes of the environment's row of the `RecurrentState`; empty if the policy is
            feedforward. It cannot be recomputed, because the policy had other weights at the time.
    """

    start: EpisodeStart
    actions: tuple[int, ...]
    action_generator: dict[str, Any]
    recurrent_state: bytes = b""


class Environment:
    """One environment of a training run: an emulator, its own action generator, and the current episode.

    Args:
        game: emulator settings.
        seed: seed of the run.
        index: index among the run's environments.
        ram: array to write the RAM into, uint8 of shape (128,).
        previous: array to write the previous step's RAM into; at an episode's start the same RAM.
        stack: array to write the stacked frames into (default: frames are not observed).

    Attributes:
        ram: current RAM.
        previous: RAM one step before.
        episode_return: return of the current episode so far.
        lost_life: whether the last step lost a life; always False in games without lives.
    """

    def __init__(
        self, game: GameSettings, seed: int, index: int, ram: Ram, previous: Ram, stack: FrameStack | None = None
    ) -> None:
        reset_seed, action_seed = np.random.SeedSequence(seed, spawn_key=(0, index)).generate_state(2)
        self._emulator = Emulator(game, int(reset_seed), ram)
        self._frame_stacker = None if stack is None else FrameStacker(self._emulator, stack)
        self._generator = np.random.default_rng(int(action_seed))
        self.ram, self.previous = ram, previous
        self.lost_life = False
        self._reset(int(reset_seed))

    def _reset(self, seed: int | None = None) -> None:
        self._emulator.reset(seed)
        self._start = self._emulator.episode_start()
        self._since: list[int] = []
        self.episode_return = 0.0
        self.previous[:] = self.ram
        if self._frame_stacker:
            self._frame_stacker.reset()

    @property
    def length(self) -> int:
        """Steps of the current episode."""
        return len(self._since)

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self._emulator.n_actions

    def uniforms(self, n: int) -> npt.NDArray[np.float64]:
        """Draw n numbers in [0, 1) from this environment's generator."""
        return self._generator.random(n)

    def logit_noise(self) -> Floats:
        """Draw standard normal noise from this environment's generator: float32 of shape (n_actions,)."""
        return self._generator.standard_normal(self.n_actions, np.float32)

    def step(self, action: int) -> tuple[float, bool, bool]:
        """Play one step; returns reward, terminated, truncated."""
        self.previous[:] = self.ram
        lives = self._emulator.lives
        reward, terminated, truncated = self._emulator.step(action)
        self.lost_life = self._emulator.lives < lives
        if self._frame_stacker:
            self._frame_stacker.append()
        self._since.append(action)
        self.episode_return += reward
        return reward, terminated, truncated

    def start_next_episode(self) -> None:
        """Start the next episode; its random start follows from the emulator's own generator."""
        self._reset()

    def snapshot(self) -> Callable[[], EnvironmentState]:
        """Return a function that returns the state as of now, also later: most snapshots are never needed."""
        start, since, length = self._start, self._since, self.length
        generator = dict(self._generator.bit_generator.state)
        return lambda: EnvironmentState(start, tuple(since[:length]), generator)

    def restore(self, state: EnvironmentState, on_step: Callable[[], None] = lambda: None) -> None:
        """Restore a state by replaying its episode; `on_step` is called before each step."""
        self._emulator.restore(state.start)
        self._start, self._since, self.episode_return = state.start, [], 0.0
        self.previous[:] = self.ram
        if self._frame_stacker:
            self._frame_stacker.reset()
        for action in state.actions:
            on_step()
            self.step(action)
        self._generator.bit_generator.state = state.action_generator
