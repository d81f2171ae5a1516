"""Capture and restore the training state of a Stable-Baselines3 algorithm between two rollouts, bit-for-bit.

Stable-Baselines3 does not resume runs exactly, so this reads and sets its private attributes, last tried with 2.9.2.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import Counters, TrainingState
from tasks.arcade.checkpoints.verified_folder import Arrays
from tasks.arcade.learner.model_builder import Model
from tasks.arcade.learner.off_policy import OffPolicyRolloutMixin
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.settings.legacy import current_arrays


@dataclass(frozen=True)
class ResumePoint:
    """Where a training run starts, unless from scratch.

    Attributes:
        checkpoint: weights and feature statistics.
        state: training state.
        new_run: start another run from this one's weights, optimizer and counters, with new episodes and random
            generators of its own seed.
    """

    checkpoint: Checkpoint
    state: TrainingState
    new_run: bool = False


def env_of(model: Model) -> RolloutVecEnv:
    """Return the model's environment."""
    assert isinstance(model.env, RolloutVecEnv)
    return model.env


def capture_state(model: Model) -> TrainingState:
    """Return everything needed to resume a run between two rollouts, besides the checkpoint."""
    moments = model.policy.optimizer.state_dict()["state"]
    generator: Any = np.random.get_state(legacy=False)
    counters = Counters(
        step=model.num_timesteps,
        n_updates=model._n_updates,
        returns=tuple(model.ep_info_buffer or ()),
        # Non-finite values, such as the explained variance of constant returns, are never logged.
        pending={key: float(value) for key, value in model.logger.name_to_value.items() if math.isfinite(value)},
        numpy_generator=generator | {"state": generator["state"] | {"key": generator["state"]["key"].tolist()}},
        torch_generator=torch.get_rng_state().numpy().tobytes().hex(),
        reward_scale=model.reward_scaler.state(),
        episodes=model._episode_num,
    )
    optimizer = {
        f"{index}.{name}": tensor.detach().cpu().numpy().copy()
        for index, tensors in moments.items()
        for name, tensor in tensors.items()
    }
    env = env_of(model)
    pending = env.rollout_weights if env.pool.rollout_pending else {}
    state = TrainingState(counters, optimizer, env.pool.snapshot(), pending)
    if isinstance(model, OffPolicyRolloutMixin):
        return replace(state, target=model.target(), replay_buffer=model.buffer.transitions.arrays())
    return state


def restore_state(model: Model, start: ResumePoint) -> None:
    """Restore a newly built model.

    Raises:
        LookupError, TypeError, ValueError, RuntimeError, OverflowError: If the state is invalid for this model.
        WorkerError: If a worker fails.
    """
    counters, env = start.state.counters, env_of(model)
    env.statistics = start.checkpoint.statistics
    if not start.new_run:
        _check_recurrent_states(env, start.state)
        env.pool.restore(start.state.environments)
    if start.checkpoint.weights:
        weights = {**start.checkpoint.weights, **start.state.target}
        model.policy.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
        groups = model.policy.optimizer.state_dict()["param_groups"]
        model.policy.optimizer.load_state_dict({"state": _moments(start.state.optimizer), "param_groups": groups})
    model.num_timesteps, model._n_updates = counters.step, counters.n_updates
    model.ep_info_buffer = deque(map(dict, counters.returns), maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    model._last_obs = env.reset()
    model.reward_scaler.restore(counters.reward_scale)
    model._episode_num = counters.episodes
    if isinstance(model, OffPolicyRolloutMixin):
        model.restore_replay_buffer(start.state.replay_buffer)
        if start.new_run:
            model.buffer.transitions.truncate_episodes()
    if start.new_run:
        return
    for name, value in counters.pending.items():
        model.logger.record(name, value)
    generator = counters.numpy_generator
    if start.state.playing:
        env.start_rollout(current_arrays(start.state.playing))
    state = generator["state"] | {"key": np.array(generator["state"]["key"], np.uint32)}
    np.random.set_state(generator | {"state": state})
    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(counters.torch_generator), dtype=torch.uint8))


def _check_recurrent_states(env: RolloutVecEnv, state: TrainingState) -> None:
    expected = env.pool.settings.recurrent_state_size
    for index, one in enumerate(state.environments):
        if len(one.recurrent_state) != expected:
            raise ValueError(
                f"environment {index} has {len(one.recurrent_state):,} bytes of recurrent state, expected {expected:,}"
            )


def _moments(optimizer: Arrays) -> dict[int, dict[str, torch.Tensor]]:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in optimizer.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = torch.from_numpy(array.copy())
    return moments
