"""What a rollout is, and how one process plays it: a NumPy copy of the policy over some environments.

Everything random belongs to an environment, never to the process that plays it, so that it makes no difference how
environments are shared out (tasks/arcade/rollouts/worker_pool.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.emulator.frame_stack import STACK_SHAPE
from tasks.arcade.policies.actor_critic import Floats, NetworkPolicy, Policy, Weights, sample
from tasks.arcade.policies.algorithms import feedforward_policy
from tasks.arcade.policies.feature_statistics import Rams, Statistics
from tasks.arcade.policies.features import FeatureArray, Features, feature_size
from tasks.arcade.rollouts.environment import LOGIT_NOISE, Environment, EnvironmentState
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings


@dataclass(frozen=True)
class Episode:
    """An episode that ended in training: at which step of the rollout, in which environment, with what return."""

    step: int
    environment: int
    episode_return: float
    length: int


@dataclass(frozen=True, kw_only=True)
class Played:
    """What the workers played, arrays of shape (n_steps, n_envs, ...), valid until the next rollout begins.

    Attributes:
        rams: uint8 (n_steps, n_envs, 128).
        actions: int64 (n_steps, n_envs).
        rewards: float32, the game's own.
        starts: float32, 1 where a step is the first of an episode.
        episodes: those that ended, in the order of steps, then of environments.
    """

    rams: Rams
    actions: npt.NDArray[np.int64]
    rewards: Floats
    starts: Floats
    episodes: tuple[Episode, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rollout(Played):
    """What an on-policy algorithm learns from.

    Attributes:
        features: float32 (n_steps, n_envs, n_features), what the policy was shown; of pixels uint8.
        values: float32, the policy's value of each step.
        log_probs: float32, of the actions.
        lost: float32, 1 where a step lost a life.
        bootstraps: float32, the value of the state at which the time limit cut an episode; 0 elsewhere.
        last_values: float32 (n_envs,), the value after the last step.
        last_starts: float32 (n_envs,), 1 where the last step ended an episode.
    """

    features: FeatureArray
    values: Floats
    log_probs: Floats
    lost: Floats
    bootstraps: Floats
    last_values: Floats
    last_starts: Floats

    def starts_of_lives(self) -> tuple[Floats, Floats]:
        """`starts` and `last_starts`, where the step after a lost life is the first of an episode as well."""
        starts = self.starts.copy()
        starts[1:] = np.maximum(starts[1:], self.lost[:-1])
        return starts, np.maximum(self.last_starts, self.lost[-1])


@dataclass(frozen=True)
class RolloutSettings:
    """What it takes to play rollouts.

    Attributes:
        game: the game.
        approach: features, network and number of environments.
        seed: of the run; environment i draws its own two seeds from it.
    """

    game: GameSettings
    approach: ApproachSettings
    seed: int

    @property
    def n_envs(self) -> int:
        return self.approach.n_envs

    @property
    def n_steps(self) -> int:
        return self.approach.algorithm.n_steps

    @property
    def memory_size(self) -> int:
        """Bytes that a policy remembers of an episode."""
        return 0

    def layout(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Name, shape and dtype of every array of a rollout."""
        grid, features = (self.n_steps, self.n_envs), self.approach.features
        return {
            "rams": ((*grid, RAM_SIZE), np.uint8),
            "features": ((*grid, feature_size(features)), np.uint8 if features.kind == "pixels" else np.float32),
            "actions": (grid, np.int64),
            **dict.fromkeys(("rewards", "starts", "values", "log_probs"), (grid, np.float32)),
            **dict.fromkeys(("lost", "bootstraps"), (grid, np.float32)),
            "last_values": ((self.n_envs,), np.float32),
            "last_starts": ((self.n_envs,), np.float32),
        }

    def player(self, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> RolloutPlayer:
        """Who plays some of the environments."""
        return RolloutPlayer(self, span, arrays)

    def played(self, arrays: Mapping[str, npt.NDArray[Any]], episodes: tuple[Episode, ...]) -> Played:
        """What was played, from the whole arrays of `layout`."""
        return Rollout(**arrays, episodes=episodes)


def _at_once(policy: Policy) -> TypeGuard[NetworkPolicy]:
    """Whether a step's value comes with its logits, nearly for nothing."""
    return isinstance(policy, NetworkPolicy) and policy.convolutional


class RolloutPlayer:
    """Plays rollouts of some of the environments, and writes into its columns of the rollout's arrays.

    Args:
        settings: of the rollouts.
        span: which environments.
        arrays: the whole rollout's arrays, as `RolloutSettings.layout` has them.
    """

    def __init__(self, settings: RolloutSettings, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._settings, self._span = settings, span
        columns = slice(span.start, span.stop)
        self._out = {name: array[columns] if array.ndim == 1 else array[:, columns] for name, array in arrays.items()}
        self._rams, previous = np.zeros((2, len(span), RAM_SIZE), np.uint8)
        kept, self._seen, self._past = [self._rams, previous], self._rams, previous
        if settings.approach.features.kind == "pixels":
            # Pictures hold their own past.
            self._seen = self._past = np.zeros((len(span), *STACK_SHAPE), np.uint8)
            kept.append(self._seen)
        self._environments = [
            Environment(settings.game, settings.seed, index, *rows) for index, *rows in zip(span, *kept, strict=True)
        ]
        self._n_actions = self._environments[0].n_actions
        self._before = self._embedded_traces()
        self._logit_noise: Floats | None = None

    def play(self, weights: Weights, statistics: Statistics, on_step: Callable[[], None]) -> list[Episode]:
        """Play one rollout; `on_step` is called before each step. Returns the episodes that ended."""
        weights, features, uniforms = self._begin(weights, statistics)
        policy = self._policy(weights)

        def values(rows: slice) -> Floats:
            return policy.values(features(self._seen[rows], self._past[rows]))

        episodes: list[Episode] = []
        self._out["bootstraps"][:] = 0
        for step in range(self._settings.n_steps):
            on_step()
            actions = self._decide(step, features, policy, uniforms[:, step])
            for row, action in enumerate(actions):
                episodes += self._advance(step, row, action, values)
        self._out["last_starts"][:] = self._starts()
        self._out["last_values"][:] = values(slice(None))
        if not _at_once(policy):
            # No step waits for its value. They are computed together, but of each environment on its own, so that it
            # makes no difference how many a worker has.
            together = policy.values_batched if isinstance(policy, NetworkPolicy) else policy.values
            for column in range(len(self._span)):
                self._out["values"][:, column] = together(self._out["features"][:, column])
        return episodes

    def _begin(self, weights: Weights, statistics: Statistics) -> tuple[Weights, Features, npt.NDArray[np.float64]]:
        """The policy's weights, how a rollout is seen, and a number for every environment and step.

        The numbers are of shape (n_envs, n_steps).
        """
        self._before = self._embedded_traces()
        uniforms = np.stack([environment.uniforms(self._settings.n_steps) for environment in self._environments])
        self._logit_noise = None
        if LOGIT_NOISE in weights:
            self._logit_noise = weights[LOGIT_NOISE] * np.stack(
                [environment.logit_noise() for environment in self._environments]
            )
            weights = {name: array for name, array in weights.items() if name != LOGIT_NOISE}
        return weights, Features(self._settings.approach.features, statistics), uniforms

    def _policy(self, weights: Weights) -> Policy:
        return feedforward_policy(self._settings.approach, self._n_actions, weights)

    def _starts(self) -> list[bool]:
        """Whether an episode starts here, of every environment."""
        return [environment.length == 0 for environment in self._environments]

    def _decide(self, step: int, features: Features, policy: Policy, uniforms: npt.NDArray[np.float64]) -> list[int]:
        inputs = self._look(step, features)
        if _at_once(policy):
            logits, self._out["values"][step] = policy.logits_and_values(inputs)
        else:
            logits = policy.logits(inputs)
        return self._choose(step, logits, uniforms)

    def _look(self, step: int, features: Features) -> FeatureArray:
        """What every environment shows at a step, written down."""
        out = self._out
        out["rams"][step], out["starts"][step] = self._rams, self._starts()
        inputs: FeatureArray = features(self._seen, self._past)
        out["features"][step] = inputs
        return inputs

    def _choose(self, step: int, logits: Floats, uniforms: npt.NDArray[np.float64]) -> list[int]:
        """Actions drawn by preferences, written down."""
        # PPO weighs each step by the probability that its action was really played with.
        leant = logits if self._logit_noise is None else logits + self._logit_noise
        actions, self._out["log_probs"][step] = sample(leant, uniforms)
        self._out["actions"][step] = actions
        chosen: list[int] = actions.tolist()
        return chosen

    def _advance(self, step: int, row: int, action: int, values: Callable[[slice], Floats]) -> list[Episode]:
        """Play an action on; `values` says what is to come of what some environments show now."""
        environment = self._environments[row]
        self._out["rewards"][step, row], terminated, truncated = environment.step(action)
        self._out["lost"][step, row] = environment.lost_life
        if truncated and not terminated:
            self._out["bootstraps"][step, row] = values(slice(row, row + 1))[0]
        return [self._ended(step, row)] if terminated or truncated else []

    def _ended(self, step: int, row: int) -> Episode:
        environment = self._environments[row]
        ended = Episode(step, self._span[row], environment.episode_return, environment.length)
        environment.begin_next()
        return ended

    def _embedded_traces(self) -> list[Callable[[], EnvironmentState]]:
        return [environment.mark() for environment in self._environments]

    def states(self, *, before: bool) -> list[EnvironmentState]:
        """Every environment in flight: as it is, or as it was before the last rollout."""
        return [state() for state in (self._before if before else self._embedded_traces())]

    def restore(self, states: Sequence[EnvironmentState], on_step: Callable[[], None] = lambda: None) -> None:
        """Bring every environment back to where `states` found it; `on_step` is called at each step played again."""
        for environment, state in zip(self._environments, states, strict=True):
            environment.restore(state, on_step)
