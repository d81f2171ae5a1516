"""Small training runs of any approach, recording callbacks, and comparison of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from tasks.arcade.checkpoints.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tasks.arcade.checkpoints.training_state import Counters, TrainingState, read_state, write_state
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.learner import ResumePoint, train
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.progress import Progress
from tasks.arcade.settings.algorithms import (
    A2cSettings,
    OffPolicySettings,
    PpoSettings,
    QrDqnSettings,
    RecurrentPpoSettings,
)
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.networks import NetworkSettings, QNetworkSettings, RecurrentNetworkSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings


class Recorder:
    """Training callback that records everything; stops the run at a step if one is given."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.checkpoints: list[Checkpoint] = []
        self.states: list[TrainingState] = []
        self.reports: list[Progress] = []

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        self.logged.append((step, dict(values)))

    def on_checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        self.checkpoints.append(checkpoint)
        self.states.append(state)

    def on_progress(self, progress: Progress) -> None:
        self.reports.append(progress)

    def should_stop(self, progress: Progress) -> bool:
        return self.stop_at is not None and progress.step >= self.stop_at

    def interrupt_requested(self) -> bool:
        return False

    def on_interrupt(self) -> None:
        pass


def small_approach(name: str = "ppo-tuned", *, pipelined: bool = False, **changes: object) -> ApproachSettings:
    settings = approach(name)
    if isinstance(settings.algorithm, OffPolicySettings):
        return _small_off_policy(settings, **changes)
    algorithm = settings.algorithm.model_copy(update={"n_steps": 32})
    if isinstance(algorithm, A2cSettings):
        algorithm = algorithm.model_copy(
            update={"network": NetworkSettings(pi=(16,), vf=(16,)), "pipelined": pipelined}
        )
    if isinstance(algorithm, PpoSettings):
        narrow = tuple(layer.model_copy(update={"channels": 4}) for layer in algorithm.network.convolutions)
        kept = {name: getattr(algorithm.network, name) for name in ("layer_norm", "value_embeddings")}
        network = NetworkSettings(convolutions=narrow, pi=(16,), vf=(16,), **kept)
        algorithm = algorithm.model_copy(
            update={"network": network, "batch_size": 64, "n_epochs": 2, "pipelined": pipelined}
        )
    if isinstance(algorithm, RecurrentPpoSettings):
        network = RecurrentNetworkSettings(lstm=8, pi=(16,), vf=(16,))
        algorithm = algorithm.model_copy(
            update={"network": network, "batch_size": 64, "n_epochs": 2, "pipelined": pipelined}
        )
    return settings.model_copy(update={"algorithm": algorithm, "n_envs": 4, **changes})


def _small_off_policy(settings: ApproachSettings, **changes: object) -> ApproachSettings:
    """Return an approach whose replay buffer fills and whose target network is updated within a few hundred steps."""
    update: dict[str, object] = {"train_freq": 32, "learning_starts": 128, "batch_size": 32, "gradient_steps": 5}
    update |= {"buffer_size": 600, "target_update_interval": 80, "exploration_fraction": 0.5}
    update["network"] = QNetworkSettings(layers=(16,), layer_norm=True)
    if isinstance(settings.algorithm, QrDqnSettings):
        update["n_quantiles"] = 5
    algorithm = settings.algorithm.model_copy(update=update)
    return settings.model_copy(update={"algorithm": algorithm, "n_envs": 4, **changes})


def small_run(settings: ApproachSettings, steps: int = 500, every: int = 200, seed: int = 0) -> RunSettings:
    game = resolve("ALE/Pong-v5").model_copy(update={"max_episode_frames": 160})
    return RunSettings(game=game, approach=settings, seed=seed, steps=steps, checkpoint_every=every)


class MidRolloutInterruptRecorder(Recorder):
    """Interrupts training once, while the second rollout is collected, never between two rollouts."""

    def __init__(self) -> None:
        super().__init__()
        self.polls = 0

    def on_progress(self, progress: Progress) -> None:
        super().on_progress(progress)
        self.polls = 0

    def interrupt_requested(self) -> bool:
        self.polls += 1
        return bool(self.reports) and not self.checkpoints and self.polls > 1


class MidOptimizationInterruptRecorder(Recorder):
    """Interrupts training once, during the second optimization: metrics are logged between rollout and optimization."""

    def interrupt_requested(self) -> bool:
        return len(self.logged) == 2 and not self.checkpoints


def close_weights(one: Weights, other: Weights) -> bool:
    return all(np.allclose(one[name], other[name], rtol=0, atol=1e-4) for name in one)


def equal_weights(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def assert_same_end(one: Recorder, other: Recorder) -> None:
    """Assert that both runs ended with the same weights, counters and environments."""
    assert equal_weights(one.checkpoints[-1].weights, other.checkpoints[-1].weights)
    assert without_times(one.states[-1].counters) == without_times(other.states[-1].counters)
    assert one.states[-1].environments == other.states[-1].environments


def assert_resume_is_bit_for_bit(name: str, pipelined: bool, env_id: str, directory: Path) -> None:
    """Train with two workers, resume from every checkpoint's files with one worker, and compare everything.

    Checkpoint n is in `directory / "n"`, its training state in `directory / "n-state"`.
    """
    approach_ = small_approach(name, reward="scaled", pipelined=pipelined)
    if name == "a2c":
        # Short rollouts, so that the hundredth one, after which A2C logs, follows a checkpoint.
        approach_ = approach_.model_copy(update={"algorithm": approach_.algorithm.model_copy(update={"n_steps": 2})})
    settings = small_run(approach_, steps=1000, every=500).model_copy(
        update={"game": resolve(env_id).model_copy(update={"max_episode_frames": 500})}
    )
    whole = Recorder()
    end = train(settings, 2, whole)
    for at, (checkpoint, state) in enumerate(zip(whole.checkpoints[:-1], whole.states, strict=False)):
        write_checkpoint(checkpoint, directory / f"{at}")
        write_state(state, "0" * 64, directory / f"{at}-state")
        start = ResumePoint(read_checkpoint(directory / f"{at}"), read_state(directory / f"{at}-state", "0" * 64))
        resumed = Recorder()
        assert train(settings, 1, resumed, start).step == end.step
        assert [one.step for one in resumed.checkpoints] == [one.step for one in whole.checkpoints[at + 1 :]]
        assert_same_end(resumed, whole)
        assert equal_weights(resumed.states[-1].target, whole.states[-1].target)
        assert equal_weights(resumed.states[-1].replay_buffer, whole.states[-1].replay_buffer)
        logged = [(step, without_timings(values)) for step, values in whole.logged if step > checkpoint.step]
        assert logged
        assert [(step, without_timings(values)) for step, values in resumed.logged] == logged


def without_times(counters: Counters) -> dict[str, object]:
    """Return the counters without the times at which episodes ended."""
    returns = [{"r": episode["r"], "l": episode["l"]} for episode in counters.returns]
    return counters.model_dump() | {"returns": returns}


def without_timings(values: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if key not in ("time/fps", "time/time_elapsed")}


class NoOpCallback(BaseCallback):
    def _on_step(self) -> bool:
        return True

    def init(self, model: PPO) -> BaseCallback:
        self.init_callback(model)
        return self


def with_scaled_ram(env):
    from gymnasium.spaces import Box
    from gymnasium.wrappers import TransformObservation

    space = Box(0, 1, (128,), np.float32)
    return TransformObservation(env, lambda ram: (ram / 255).astype(np.float32), space)
