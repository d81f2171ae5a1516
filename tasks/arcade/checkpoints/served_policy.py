"""A checkpoint's policy as a stateless function of a batch of observations, as model servers call it.

Nothing is kept between two calls. A policy on RAM needs the RAM of a step and that of the step before; a policy on
pixels the frame stack of a step, which contains the steps before. A recurrent policy depends on every step since the
episode's start: its batch is the episode so far, and anything else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.arcade.checkpoints.checkpoint import Checkpoint, read_checkpoint
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator
from tasks.arcade.emulator.frame_stack import STACK_SHAPE, FrameStacker
from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.actor_critic import Floats, Policy, sample
from tasks.arcade.policies.algorithms import algorithm_of
from tasks.arcade.policies.features import FeatureArray
from tasks.arcade.policies.q_network import QPolicy
from tasks.arcade.policies.recurrent import RecurrentPolicy
from tasks.arcade.policies.saliency import softmax
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.networks import RecurrentNetworkSettings
from tasks.arcade.settings.run import ApproachSettings

Batch = npt.NDArray[np.uint8]
"""Observations of n steps: RAM, uint8 of shape (n, 2, 128), the step before first (at an episode's start the same RAM
twice), or frame stacks, uint8 of shape (n, 4, 84, 84), the oldest frame first."""


class BatchError(RamreelError, ValueError):
    """A batch of observations cannot be predicted."""


@dataclass(frozen=True)
class Prediction:
    """Decisions of a policy, one row per step of the batch.

    Attributes:
        actions: Indices of the chosen actions, int64 of shape (n,).
        probabilities: Probability with which the policy chooses each action, float64 of shape (n, n_actions).
        values: Value estimates, float32 of shape (n,).
        q_values: Q-values, float32 of shape (n, n_actions); None for policies without them.
    """

    actions: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    values: Floats
    q_values: Floats | None


class ServedPolicy:
    """The policy of one checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        agent = checkpoint.agent()
        self._features, self._policy = agent.features, agent.policy
        self._name = checkpoint.settings.approach.name
        self._shape = observation_shape(checkpoint.settings.approach)

    def predict(self, batch: Batch, *, deterministic: bool = False, seed: int | None = None) -> Prediction:
        """Return the decisions of the policy.

        Args:
            batch: Observations, one row per step; for a recurrent policy all steps of one episode so far.
            deterministic: Whether to choose the most probable action instead of sampling.
            seed: Seed of the generator that samples the actions, one number per row in order: with the action seed of
                a trace, and the observations of its episode, the actions are those of the trace (default: a random
                one).

        Raises:
            BatchError: The batch has another shape or type, or is not an episode where the policy needs one, or the
                seed is negative.
        """
        if batch.dtype != np.uint8 or batch.shape[1:] != self._shape or not len(batch):
            raise BatchError(
                f"observations must be uint8 of shape (n, {', '.join(map(str, self._shape))}), n at least 1, "
                f"got {batch.dtype} of shape {batch.shape}"
            )
        if seed is not None and seed < 0:
            raise BatchError(f"seed must be at least 0, got {seed}")
        logits, values, q_values = self._evaluate(batch)
        if deterministic:
            actions = logits.argmax(axis=1)
        else:
            actions, _ = sample(logits, np.random.default_rng(seed).random(len(batch)))
        # Row by row, as in a video's panel: the last bits of a sum depend on the shape of the array.
        probabilities = np.array([softmax(row) for row in logits.astype(np.float64)])
        return Prediction(actions, probabilities, values, q_values)

    def _evaluate(self, batch: Batch) -> tuple[Floats, Floats, Floats | None]:
        """Return logits, value estimates and, of a Q-network, Q-values."""
        previous, observations = (batch, batch) if self._features.uses_pixels else (batch[:, 0], batch[:, 1])
        features = self._features(observations, previous)
        if isinstance(self._policy, RecurrentPolicy):
            self._require_episode(batch)
            return *_evaluate_episode(self._policy, features), None
        policy: Policy = self._policy
        q_values = policy.q_values(features) if isinstance(policy, QPolicy) else None
        return policy.logits(features), policy.values(features), q_values

    def _require_episode(self, batch: Batch) -> None:
        """Raise BatchError unless the rows are the steps of one episode from its start."""
        expected = np.concatenate([batch[:1, 1], batch[:-1, 1]])
        gaps = np.flatnonzero((batch[:, 0] != expected).any(axis=1))
        if len(gaps):
            raise BatchError(
                f"the policy of {self._name} is recurrent: its batch must be all steps of one episode from the first, "
                f"whose RAM stands twice, but row {gaps[0]} does not follow the row before it"
            )


def _evaluate_episode(policy: RecurrentPolicy, features: FeatureArray) -> tuple[Floats, Floats]:
    state = policy.initial_state(1)
    logits, values = np.empty((len(features), policy.n_actions), np.float32), np.empty(len(features), np.float32)
    for row in range(len(features)):
        state = policy.step(features[row : row + 1], state)
        logits[row], values[row] = policy.logits(state)[0], policy.values(state)[0]
    return logits, values


def load_served_policy(directory: Path) -> ServedPolicy:
    """Read a checkpoint from its folder and return its policy.

    MLflow models of earlier versions call this function under this name.

    Raises:
        CheckpointError: The checkpoint is damaged, of a newer schema, or its ROM is not installed.
    """
    return ServedPolicy(read_checkpoint(directory))


def observation_shape(approach: ApproachSettings) -> tuple[int, ...]:
    """Return the shape of one row of a `Batch`."""
    return STACK_SHAPE if approach.features.uses_pixels else (2, RAM_SIZE)


def is_recurrent(approach: ApproachSettings) -> bool:
    """Return whether a batch must be an episode."""
    return isinstance(getattr(approach.algorithm, "network", None), RecurrentNetworkSettings)


def has_q_values(approach: ApproachSettings) -> bool:
    """Return whether predictions have Q-values."""
    return algorithm_of(approach).outputs == "q-values"


@cache
def example_batch(game: GameSettings, *, uses_pixels: bool) -> Batch:
    """Return the observation at the start of an episode as a batch of one row."""
    emulator = Emulator(game, 0)
    if not uses_pixels:
        ram = emulator.reset(0)
        return np.array([[ram, ram]])
    stacker = FrameStacker(emulator)
    emulator.reset(0)
    stacker.reset()
    return stacker.stack[None]
