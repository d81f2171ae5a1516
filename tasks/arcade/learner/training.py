"""A training from its first rollout, or from where a checkpoint left it, to its end."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import Counters, TrainingState
from tasks.arcade.checkpoints.verified_folder import Arrays, DamagedFolderError
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.learner.factory import Model, build
from tasks.arcade.learner.off_policy import OffPolicyRollouts
from tasks.arcade.learner.vec_env import DivergedError, RolloutVecEnv
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.off_policy import rollout_settings
from tasks.arcade.rollouts.worker_pool import WorkerError, WorkerPool
from tasks.arcade.settings.run import RunSettings


class Listener(Protocol):
    """Who hears what a training does; an exception raised in any of these ends it."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """What Stable-Baselines3 logs, under its own names."""

    def checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        """A checkpoint is due: what playing needs, and what going on needs besides."""

    def progress(self, progress: Progress) -> None:
        """A rollout was played and learned from."""

    def wants_checkpoint(self) -> bool:
        """Whether there should be a checkpoint at once, though none is due; asked while a rollout is played, too.

        It is that of the rollout's beginning.
        """

    def wants_end(self, progress: Progress) -> bool:
        """Whether the training should end here, between two rollouts, though there are steps left."""


@dataclass(frozen=True)
class Start:
    """Where a training goes on.

    Attributes:
        checkpoint: with which weights.
        state: with what besides.
        fresh: with new games and generators, of the run's own seed: another training, from there.
    """

    checkpoint: Checkpoint
    state: TrainingState
    fresh: bool = False


def train(settings: RunSettings, workers: int, listener: Listener, start: Start | None = None) -> Progress:
    """Train a run to its end.

    Args:
        settings: the run's.
        workers: processes; the result does not depend on how many.
        listener: hears of it.
        start: where to go on; none: from the beginning. A training that goes on ends as one that never stopped.

    Raises:
        WorkerError: a worker died, hangs or raised.
        DamagedFolderError: what `start` holds makes no sense.
        DivergedError: a loss, or what the policy prefers, is not finite any more.
        ValueError: the approach learns nothing.
    """
    rollouts = rollout_settings(settings.game, settings.approach, settings.seed)
    with WorkerPool(rollouts, workers) as pool:
        model = build(settings, pool)
        model.set_logger(Logger(folder=None, output_formats=[_Metrics(listener)]))
        if start:
            try:
                _restore(model, start)
            except WorkerError:
                raise
            except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
                what = f"{type(error).__name__}: {error}".split("\n", 1)[0]
                step = start.checkpoint.step
                raise DamagedFolderError(f"the training's state at step {step} makes no sense: {what}") from error
        reporter = _Reporter(settings, listener, start.checkpoint.step if start else 0)
        # Stable-Baselines3 adds the steps done to those asked for.
        model.learn(settings.steps - model.num_timesteps, callback=reporter, reset_num_timesteps=start is None)
        return reporter.now()


def _state(model: Model) -> TrainingState:
    """What going on needs of a training between two rollouts."""
    moments = model.policy.optimizer.state_dict()["state"]
    generator: Any = np.random.get_state(legacy=False)
    counters = Counters(
        step=model.num_timesteps,
        n_updates=model._n_updates,
        returns=tuple(model.ep_info_buffer or ()),
        # What is no number is logged nowhere, such as the explained share of a variance that is 0.
        pending={key: float(value) for key, value in model.logger.name_to_value.items() if math.isfinite(value)},
        numpy_generator=generator | {"state": generator["state"] | {"key": generator["state"]["key"].tolist()}},
        torch_generator=torch.get_rng_state().numpy().tobytes().hex(),
        reward_scale=model.reward_scale.state(),
        episodes=model._episode_num,
    )
    optimizer = {
        f"{index}.{name}": tensor.detach().cpu().numpy().copy()
        for index, tensors in moments.items()
        for name, tensor in tensors.items()
    }
    env = _env(model)
    state = TrainingState(counters, optimizer, env.pool.snapshot(), env.playing if env.pool.under_way else {})
    if isinstance(model, OffPolicyRollouts):
        return replace(state, target=model.target(), replay_buffer=model.buffer.kept.arrays())
    return state


def _restore(model: Model, start: Start) -> None:
    """Bring a newly built model to where a training was."""
    counters, env = start.state.counters, _env(model)
    env.statistics = start.checkpoint.statistics
    if not start.fresh:
        _check_memories(env, start.state)
        env.pool.restore(start.state.environments)
    weights = {**start.checkpoint.weights, **start.state.target}
    model.policy.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    groups = model.policy.optimizer.state_dict()["param_groups"]
    model.policy.optimizer.load_state_dict({"state": _moments(start.state.optimizer), "param_groups": groups})
    model.num_timesteps, model._n_updates = counters.step, counters.n_updates
    model.ep_info_buffer = deque(map(dict, counters.returns), maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)
    model._last_obs = env.reset()
    model.reward_scale.restore(counters.reward_scale)
    model._episode_num = counters.episodes
    if isinstance(model, OffPolicyRollouts):
        model.restore(start.state.replay_buffer)
        if start.fresh:
            model.buffer.kept.cut()
    if start.fresh:
        return
    for name, value in counters.pending.items():
        model.logger.record(name, value)
    generator = counters.numpy_generator
    if start.state.playing:
        env.begin(start.state.playing)
    state = generator["state"] | {"key": np.array(generator["state"]["key"], np.uint32)}
    np.random.set_state(generator | {"state": state})
    torch.set_rng_state(torch.frombuffer(bytearray.fromhex(counters.torch_generator), dtype=torch.uint8))


def _check_memories(env: RolloutVecEnv, state: TrainingState) -> None:
    wanted = env.pool.settings.memory_size
    for index, one in enumerate(state.environments):
        if len(one.memory) != wanted:
            raise ValueError(
                f"environment {index} has a memory of {len(one.memory):,} bytes: {wanted:,} would be right"
            )


def _moments(optimizer: Arrays) -> dict[int, dict[str, torch.Tensor]]:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in optimizer.items():
        index, name = key.split(".", 1)
        moments.setdefault(int(index), {})[name] = torch.from_numpy(array.copy())
    return moments


def _env(model: Model) -> RolloutVecEnv:
    assert isinstance(model.env, RolloutVecEnv)
    return model.env


class _Metrics(KVWriter):
    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        numbers = {key: float(value) for key, value in key_values.items() if isinstance(value, float | int | np.number)}
        self._listener.metrics(numbers, step)

    def close(self) -> None:
        pass


class _Reporter(BaseCallback):
    """Tells the listener of progress and of checkpoints: between rollouts, when what was played has been learned."""

    model: Model

    def __init__(self, settings: RunSettings, listener: Listener, start: int) -> None:
        super().__init__()
        self._settings, self._listener = settings, listener
        self._action_names = action_names(settings.game)
        self._saved_at = self._start = start
        self._started = time.monotonic()

    def now(self) -> Progress:
        """How far it is."""
        step, seconds = self.model.num_timesteps, max(time.monotonic() - self._started, 1e-9)
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        mean = float(np.mean(returns)) if returns else None
        return Progress(step, self._settings.steps, (step - self._start) / seconds, mean)

    def _on_training_start(self) -> None:
        self._started = time.monotonic()
        env = _env(self.model)
        env.interrupted, env.interrupt = self._is_wanted_at_once, self._save

    def _is_wanted_at_once(self) -> bool:
        return self.num_timesteps > self._saved_at and self._listener.wants_checkpoint()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._refuse_divergence()
        step, every = self.num_timesteps, self._settings.checkpoint_every
        if step > self._start:
            progress = self.now()
            self._listener.progress(progress)
            self.model.over = self._listener.wants_end(progress)
        due = step // every > self._saved_at // every
        if due or self._is_wanted_at_once():
            self._save()

    def _on_training_end(self) -> None:
        self._refuse_divergence()
        self._listener.progress(self.now())
        if self._saved_at != self.num_timesteps:
            self._save()

    def _refuse_divergence(self) -> None:
        for name, value in self.model.logger.name_to_value.items():
            if name.startswith("train/") and name.endswith("loss") and not math.isfinite(value):
                raise DivergedError.at(self.num_timesteps, f"{name} is {value}")

    def _save(self) -> None:
        self._saved_at = self.num_timesteps
        checkpoint = Checkpoint(
            self._settings, self.num_timesteps, self._action_names, self.model.weights(), _env(self.model).statistics
        )
        self._listener.checkpoint(checkpoint, _state(self.model))
