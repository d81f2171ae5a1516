"""One environment of a rollout: emulator, generators and snapshots."""

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

LOGIT_NOISE = "lean"
"""Among the weights that a rollout is played with: the deviation of what is added to each environment's preferences."""


@dataclass(frozen=True)
class EnvironmentState:
    """One environment in flight: its episode's start and the actions since, which are played again to bring it back.

    A state cloned in the middle of an episode would not do: ALE leaves the last executed action out of it, which a
    sticky action repeats.

    What a policy remembers of the episode cannot be computed again, for its weights were others then: `memory` is one
    row of a `Memory`, its float32 numbers one after the other; empty where the policy has none.
    """

    start: EpisodeStart
    actions: tuple[int, ...]
    action_generator: dict[str, Any]
    memory: bytes = b""


class Environment:
    """One environment in training: an emulator, its own action generator, and the episode under way.

    Args:
        game: the game.
        seed: of the run.
        index: which of the run's environments.
        ram: where its RAM is kept, uint8 of shape (128,).
        previous: where the RAM one step before is kept; at an episode's start the same.
        stack: where the last pictures are kept, for a policy on pixels; none: nobody looks at the screen.

    Attributes:
        lost_life: the last step lost one; never in games that count none.
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
        self._begin(int(reset_seed))

    def _begin(self, seed: int | None = None) -> None:
        self._emulator.reset(seed)
        self._start = self._emulator.episode_start()
        self._since: list[int] = []
        self.episode_return = 0.0
        self.previous[:] = self.ram
        if self._frame_stacker:
            self._frame_stacker.reset()

    @property
    def length(self) -> int:
        """Steps of the episode under way."""
        return len(self._since)

    @property
    def n_actions(self) -> int:
        """How many actions there are."""
        return self._emulator.n_actions

    def uniforms(self, n: int) -> npt.NDArray[np.float64]:
        """The next n numbers of this environment's own generator, in [0, 1)."""
        return self._generator.random(n)

    def logit_noise(self) -> Floats:
        """Actions that this environment leans to, drawn anew: float32 of shape (n_actions,), of deviation 1."""
        return self._generator.standard_normal(self.n_actions, np.float32)

    def step(self, action: int) -> tuple[float, bool, bool]:
        self.previous[:] = self.ram
        lives = self._emulator.lives
        reward, terminated, truncated = self._emulator.step(action)
        self.lost_life = self._emulator.lives < lives
        if self._frame_stacker:
            self._frame_stacker.append()
        self._since.append(action)
        self.episode_return += reward
        return reward, terminated, truncated

    def begin_next(self) -> None:
        self._begin()

    def mark(self) -> Callable[[], EnvironmentState]:
        """What tells, then or later, the state that the environment is in now."""
        start, since, length = self._start, self._since, self.length
        generator = dict(self._generator.bit_generator.state)
        return lambda: EnvironmentState(start, tuple(since[:length]), generator)

    def restore(self, state: EnvironmentState, on_step: Callable[[], None] = lambda: None) -> None:
        """Bring an environment back to where it was, by playing its episode again; `on_step` is called at each step."""
        self._emulator.restore(state.start)
        self._start, self._since, self.episode_return = state.start, [], 0.0
        self.previous[:] = self.ram
        if self._frame_stacker:
            self._frame_stacker.reset()
        for action in state.actions:
            on_step()
            self.step(action)
        self._generator.bit_generator.state = state.action_generator
