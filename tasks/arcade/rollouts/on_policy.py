"""On-policy rollouts, and how a worker process collects them: a NumPy copy of the policy over some environments.

All random numbers belong to an environment, none to the process, so that results do not depend on how environments are
distributed over workers (tasks/arcade/rollouts/worker_pool.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.policies.actor_critic import Floats, NetworkPolicy, Policy, Weights, sample
from tasks.arcade.policies.algorithms import feedforward_policy
from tasks.arcade.policies.feature_statistics import Rams, Statistics
from tasks.arcade.policies.features import FeatureArray, Features, feature_size, observation_kind
from tasks.arcade.rollouts.environment import LOGIT_NOISE, Environment, EnvironmentState
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings


@dataclass(frozen=True)
class FinishedEpisode:
    """A training episode that ended during a rollout.

    Attributes:
        step: step of the rollout at which it ended.
        environment: index of the environment.
        episode_return: its return, unclipped.
        length: its steps.
    """

    step: int
    environment: int
    episode_return: float
    length: int


@dataclass(frozen=True, kw_only=True)
class CollectedSteps:
    """Steps collected by the workers, arrays of shape (n_steps, n_envs, ...), valid until the next rollout starts.

    Attributes:
        rams: uint8 (n_steps, n_envs, 128).
        actions: int64 (n_steps, n_envs).
        rewards: float32, untransformed.
        starts: float32, 1 where a step is the first of an episode.
        episodes: finished episodes, ordered by step, then by environment.
    """

    rams: Rams
    actions: npt.NDArray[np.int64]
    rewards: Floats
    starts: Floats
    episodes: tuple[FinishedEpisode, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rollout(CollectedSteps):
    """A rollout for on-policy algorithms.

    Attributes:
        features: float32 (n_steps, n_envs, n_features), the policy's inputs; uint8 for pixels.
        values: float32, value estimates.
        log_probs: float32, log-probabilities of the actions.
        life_losses: float32, 1 where a step lost a life.
        bootstraps: float32, value estimate of the final state where the time limit truncated an episode; 0 elsewhere.
        last_values: float32 (n_envs,), value estimates after the last step.
        last_starts: float32 (n_envs,), 1 where the last step ended an episode.
    """

    features: FeatureArray
    values: Floats
    log_probs: Floats
    life_losses: Floats
    bootstraps: Floats
    last_values: Floats
    last_starts: Floats

    def life_starts(self) -> tuple[Floats, Floats]:
        """Return `starts` and `last_starts` with the step after a lost life as the first of an episode, too."""
        starts = self.starts.copy()
        starts[1:] = np.maximum(starts[1:], self.life_losses[:-1])
        return starts, np.maximum(self.last_starts, self.life_losses[-1])


@dataclass(frozen=True)
class RolloutSettings:
    """Specification of the rollouts of a run.

    Attributes:
        game: emulator settings.
        approach: features, network and number of environments.
        seed: seed of the run, from which each environment derives its own two seeds.
    """

    game: GameSettings
    approach: ApproachSettings
    seed: int

    @property
    def n_envs(self) -> int:
        """Number of environments."""
        return self.approach.n_envs

    @property
    def n_steps(self) -> int:
        """Steps per environment in each rollout."""
        return self.approach.algorithm.n_steps

    @property
    def recurrent_state_size(self) -> int:
        """Size of an environment's recurrent state in bytes."""
        return 0

    def layout(self) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Return name, shape and dtype of every array of a rollout."""
        grid, features = (self.n_steps, self.n_envs), self.approach.features
        return {
            "rams": ((*grid, RAM_SIZE), np.uint8),
            "features": ((*grid, feature_size(features)), observation_kind(features).dtype),
            "actions": (grid, np.int64),
            **dict.fromkeys(("rewards", "starts", "values", "log_probs"), (grid, np.float32)),
            **dict.fromkeys(("life_losses", "bootstraps"), (grid, np.float32)),
            "last_values": ((self.n_envs,), np.float32),
            "last_starts": ((self.n_envs,), np.float32),
        }

    def player(self, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> RolloutPlayer:
        """Return the player of some of the environments."""
        return RolloutPlayer(self, span, arrays)

    def collected(
        self, arrays: Mapping[str, npt.NDArray[Any]], episodes: tuple[FinishedEpisode, ...]
    ) -> CollectedSteps:
        """Return a rollout over the arrays of `layout`."""
        return Rollout(**arrays, episodes=episodes)


def _computes_both(policy: Policy) -> TypeGuard[NetworkPolicy]:
    """Return whether values are nearly free once logits are computed."""
    return isinstance(policy, NetworkPolicy) and policy.convolutional


class RolloutPlayer:
    """Collects rollouts in some of the environments, writing into its columns of the rollout's arrays.

    Args:
        settings: specification of the rollouts.
        span: indices of the environments.
        arrays: arrays of the whole rollout, see `RolloutSettings.layout`.
    """

    def __init__(self, settings: RolloutSettings, span: range, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._settings, self._span = settings, span
        columns = slice(span.start, span.stop)
        self._out = {name: array[columns] if array.ndim == 1 else array[:, columns] for name, array in arrays.items()}
        self._rams, previous = np.zeros((2, len(span), RAM_SIZE), np.uint8)
        buffers, self._observations, self._previous = [self._rams, previous], self._rams, previous
        if settings.approach.features.uses_pixels:
            # A frame stack contains the previous frames.
            shape = observation_kind(settings.approach.features).observation_shape
            self._observations = self._previous = np.zeros((len(span), *shape), np.uint8)
            buffers.append(self._observations)
        self._environments = [
            Environment(settings.game, settings.seed, index, *rows) for index, *rows in zip(span, *buffers, strict=True)
        ]
        self._n_actions = self._environments[0].n_actions
        self._snapshots_before = self._snapshots()
        self._logit_noise: Floats | None = None

    def play(self, weights: Weights, statistics: Statistics, on_step: Callable[[], None]) -> list[FinishedEpisode]:
        """Collect one rollout; `on_step` is called before each step. Returns the finished episodes."""
        weights, features, uniforms = self._start_rollout(weights, statistics)
        policy = self._policy(weights)

        def values(rows: slice) -> Floats:
            return policy.values(features(self._observations[rows], self._previous[rows]))

        episodes: list[FinishedEpisode] = []
        self._out["bootstraps"][:] = 0
        for step in range(self._settings.n_steps):
            on_step()
            actions = self._act(step, features, policy, uniforms[:, step])
            for row, action in enumerate(actions):
                episodes += self._step_environment(step, row, action, values)
        self._out["last_starts"][:] = self._episode_starts()
        self._out["last_values"][:] = values(slice(None))
        if not _computes_both(policy):
            # No step waits for its value, so values are computed in batches; of one environment each, so that they do
            # not depend on how many environments a worker has.
            batched = policy.values_batched if isinstance(policy, NetworkPolicy) else policy.values
            for column in range(len(self._span)):
                self._out["values"][:, column] = batched(self._out["features"][:, column])
        return episodes

    def _start_rollout(
        self, weights: Weights, statistics: Statistics
    ) -> tuple[Weights, Features, npt.NDArray[np.float64]]:
        """Return the policy's weights, the feature extractor and uniform numbers of shape (n_envs, n_steps)."""
        self._snapshots_before = self._snapshots()
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

    def _episode_starts(self) -> list[bool]:
        """Return whether each environment is at the start of an episode."""
        return [environment.length == 0 for environment in self._environments]

    def _act(self, step: int, features: Features, policy: Policy, uniforms: npt.NDArray[np.float64]) -> list[int]:
        inputs = self._observe(step, features)
        if _computes_both(policy):
            logits, self._out["values"][step] = policy.logits_and_values(inputs)
        else:
            logits = policy.logits(inputs)
        return self._sample_actions(step, logits, uniforms)

    def _observe(self, step: int, features: Features) -> FeatureArray:
        """Record RAM, episode starts and features of a step; returns the features."""
        out = self._out
        out["rams"][step], out["starts"][step] = self._rams, self._episode_starts()
        inputs: FeatureArray = features(self._observations, self._previous)
        out["features"][step] = inputs
        return inputs

    def _sample_actions(self, step: int, logits: Floats, uniforms: npt.NDArray[np.float64]) -> list[int]:
        """Sample actions and record them with their log-probabilities."""
        # The noise counts: PPO's ratio is relative to the probabilities that actions were sampled with.
        noisy = logits if self._logit_noise is None else logits + self._logit_noise
        actions, self._out["log_probs"][step] = sample(noisy, uniforms)
        self._out["actions"][step] = actions
        sampled: list[int] = actions.tolist()
        return sampled

    def _step_environment(
        self, step: int, row: int, action: int, values: Callable[[slice], Floats]
    ) -> list[FinishedEpisode]:
        """Play one action; `values` estimates the values of some environments' current states."""
        environment = self._environments[row]
        self._out["rewards"][step, row], terminated, truncated = environment.step(action)
        self._out["life_losses"][step, row] = environment.lost_life
        if truncated and not terminated:
            self._out["bootstraps"][step, row] = values(slice(row, row + 1))[0]
        return [self._finish_episode(step, row)] if terminated or truncated else []

    def _finish_episode(self, step: int, row: int) -> FinishedEpisode:
        environment = self._environments[row]
        finished = FinishedEpisode(step, self._span[row], environment.episode_return, environment.length)
        environment.start_next_episode()
        return finished

    def _snapshots(self) -> list[Callable[[], EnvironmentState]]:
        return [environment.snapshot() for environment in self._environments]

    def states(self, *, before: bool) -> list[EnvironmentState]:
        """Return the state of every environment: now, or before the last rollout."""
        return [state() for state in (self._snapshots_before if before else self._snapshots())]

    def restore(self, states: Sequence[EnvironmentState], on_step: Callable[[], None] = lambda: None) -> None:
        """Restore every environment; `on_step` is called before each replayed step."""
        for environment, state in zip(self._environments, states, strict=True):
            environment.restore(state, on_step)
