"""Train a run, from scratch or from a resume point."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import TrainingState
from tasks.arcade.checkpoints.verified_folder import DamagedFolderError
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.learner.model_builder import Model, build_model
from tasks.arcade.learner.model_state import ResumePoint, capture_state, env_of, restore_state
from tasks.arcade.learner.on_policy import OnPolicyRolloutMixin
from tasks.arcade.learner.vec_env import DivergedError
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.specification import rollout_settings
from tasks.arcade.rollouts.worker_pool import WorkerError, WorkerPool
from tasks.arcade.settings.run import RunSettings

LONG_OPTIMIZATION_SECONDS = 1.0
"""After an optimization this long, the state before each rollout is kept, so that an interrupt need not wait."""


class TrainingCallback(Protocol):
    """Callback of a training run; an exception in any of its methods ends the run."""

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        """Handle the metrics that Stable-Baselines3 logs, under its names."""

    def on_checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        """Handle a checkpoint: what is needed to play, and what else is needed to resume."""

    def on_progress(self, progress: Progress) -> None:
        """Handle progress: a rollout was collected and trained on."""

    def interrupt_requested(self) -> bool:
        """Return whether to interrupt training; polled also during rollouts and, on-policy, long optimizations."""

    def on_interrupt(self) -> None:
        """Handle the interruption: the state before the rollout was saved. Training continues if this returns."""

    def should_stop(self, progress: Progress) -> bool:
        """Return whether to end the run early, between two rollouts."""


def train(
    settings: RunSettings, workers: int, callback: TrainingCallback, start: ResumePoint | None = None
) -> Progress:
    """Train a run to its end.

    Args:
        settings: settings of the run.
        workers: number of worker processes; results do not depend on it.
        callback: receives metrics, checkpoints and progress.
        start: where to resume (default: start from scratch). A resumed run ends bit-identical to an uninterrupted one.

    Raises:
        WorkerError: If a worker died, hangs or raised an exception.
        DamagedFolderError: If the training state is invalid.
        DivergedError: If a loss or the policy's logits become non-finite.
        ValueError: If the approach does not learn.
    """
    with WorkerPool(rollout_settings(settings.game, settings.approach, settings.seed), workers) as pool:
        model = build_model(settings, pool)
        model.set_logger(Logger(folder=None, output_formats=[_MetricsWriter(callback)]))
        if start:
            try:
                restore_state(model, start)
            except WorkerError:
                raise
            except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
                cause = f"{type(error).__name__}: {error}".split("\n", 1)[0]
                step = start.checkpoint.step
                raise DamagedFolderError(f"the training state at step {step} is invalid: {cause}") from error
        adapter = _CallbackAdapter(settings, callback, start.checkpoint.step if start else 0)
        # Stable-Baselines3 adds the steps already done to `total_timesteps`.
        model.learn(settings.steps - model.num_timesteps, callback=adapter, reset_num_timesteps=start is None)
        return adapter.progress()


class _MetricsWriter(KVWriter):
    def __init__(self, callback: TrainingCallback) -> None:
        self._callback = callback

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        numbers = {key: float(value) for key, value in key_values.items() if isinstance(value, float | int | np.number)}
        self._callback.on_metrics(numbers, step)

    def close(self) -> None:
        pass


class _CallbackAdapter(BaseCallback):
    """Calls a `TrainingCallback` between rollouts, when the last one has been trained on."""

    model: Model

    def __init__(self, settings: RunSettings, callback: TrainingCallback, start: int) -> None:
        super().__init__()
        self._settings, self._callback = settings, callback
        self._action_names = action_names(settings.game)
        self._saved_at = self._start = start
        self._started = time.monotonic()
        self._collected_at = math.inf
        self._before_rollout: tuple[Checkpoint, TrainingState] | None = None

    def progress(self) -> Progress:
        """Return the current progress."""
        step, seconds = self.model.num_timesteps, max(time.monotonic() - self._started, 1e-9)
        returns = [episode["r"] for episode in self.model.ep_info_buffer or ()]
        mean = float(np.mean(returns)) if returns else None
        return Progress(step, self._settings.last_step, (step - self._start) / seconds, mean)

    def _on_training_start(self) -> None:
        self._started = time.monotonic()
        env = env_of(self.model)
        env.interrupt_requested, env.on_interrupt = self._callback.interrupt_requested, self._interrupt
        if isinstance(self.model, OnPolicyRolloutMixin):
            self.model.policy.optimizer.register_step_pre_hook(self._poll_during_optimization)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self._raise_if_diverged()
        step, every = self.num_timesteps, self._settings.checkpoint_every
        if step > self._start:
            progress = self.progress()
            self._callback.on_progress(progress)
            self.model.stop_requested = self._callback.should_stop(progress)
        due = step // every > self._saved_at // every
        if due:
            self._save()
        if self._callback.interrupt_requested():
            self._interrupt()
        # Not off-policy: the state includes the replay buffer.
        long = time.monotonic() - self._collected_at > LONG_OPTIMIZATION_SECONDS
        self._before_rollout = self._capture() if long and isinstance(self.model, OnPolicyRolloutMixin) else None

    def _on_rollout_end(self) -> None:
        self._collected_at = time.monotonic()

    def _poll_during_optimization(self, *_: object) -> None:
        if self._before_rollout is None or not self._callback.interrupt_requested():
            return
        checkpoint, state = self._before_rollout
        if self._saved_at != checkpoint.step:
            self._saved_at = checkpoint.step
            self._callback.on_checkpoint(checkpoint, state)
        self._callback.on_interrupt()

    def _on_training_end(self) -> None:
        self._raise_if_diverged()
        self._callback.on_progress(self.progress())
        if self._saved_at != self.num_timesteps:
            self._save()

    def _raise_if_diverged(self) -> None:
        for name, value in self.model.logger.name_to_value.items():
            if name.startswith("train/") and name.endswith("loss") and not math.isfinite(value):
                raise DivergedError.at(self.num_timesteps, f"{name} is {value}")

    def _interrupt(self) -> None:
        # Nothing to save at the first step, or at that of a checkpoint.
        if self._saved_at != self.num_timesteps:
            self._save()
        self._callback.on_interrupt()

    def _save(self) -> None:
        self._saved_at = self.num_timesteps
        self._callback.on_checkpoint(*self._capture())

    def _capture(self) -> tuple[Checkpoint, TrainingState]:
        weights, statistics = self.model.weights(), env_of(self.model).statistics
        checkpoint = Checkpoint(self._settings, self.num_timesteps, self._action_names, weights, statistics)
        return checkpoint, capture_state(self.model)
