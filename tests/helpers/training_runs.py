"""Small trainings of any approach, what they tell, and how two of them are compared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import Counters, TrainingState
from tasks.arcade.emulator.environment_ids import resolve
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
    """Keeps what a training tells."""

    def __init__(self, end_at: int | None = None) -> None:
        self.end_at = end_at
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.checkpoints: list[Checkpoint] = []
        self.states: list[TrainingState] = []
        self.seen: list[Progress] = []

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.logged.append((step, dict(values)))

    def checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        self.checkpoints.append(checkpoint)
        self.states.append(state)

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    def wants_end(self, progress: Progress) -> bool:
        return self.end_at is not None and progress.step >= self.end_at

    def wants_checkpoint(self) -> bool:
        return False


def small(name: str = "ppo-tuned", *, pipelined: bool = False, **changes: object) -> ApproachSettings:
    settings = approach(name)
    if isinstance(settings.algorithm, OffPolicySettings):
        return small_off_policy(settings, **changes)
    algorithm = settings.algorithm.model_copy(update={"n_steps": 32})
    if isinstance(algorithm, A2cSettings):
        algorithm = algorithm.model_copy(
            update={"network": NetworkSettings(pi=(16,), vf=(16,)), "pipelined": pipelined}
        )
    if isinstance(algorithm, PpoSettings):
        narrow = tuple(layer.model_copy(update={"channels": 4}) for layer in algorithm.network.convolutions)
        network = NetworkSettings(convolutions=narrow, pi=(16,), vf=(16,), layer_norm=algorithm.network.layer_norm)
        algorithm = algorithm.model_copy(
            update={"network": network, "batch_size": 64, "n_epochs": 2, "pipelined": pipelined}
        )
    if isinstance(algorithm, RecurrentPpoSettings):
        network = RecurrentNetworkSettings(lstm=8, pi=(16,), vf=(16,))
        algorithm = algorithm.model_copy(
            update={"network": network, "batch_size": 64, "n_epochs": 2, "pipelined": pipelined}
        )
    return settings.model_copy(update={"algorithm": algorithm, "n_envs": 4, **changes})


def small_off_policy(settings: ApproachSettings, **changes: object) -> ApproachSettings:
    """A ring that is soon full, a target network that is soon renewed."""
    update: dict[str, object] = {"train_freq": 32, "learning_starts": 128, "batch_size": 32, "gradient_steps": 5}
    update |= {"buffer_size": 600, "target_update_interval": 80, "exploration_fraction": 0.5}
    update["network"] = QNetworkSettings(layers=(16,), layer_norm=True)
    if isinstance(settings.algorithm, QrDqnSettings):
        update["n_quantiles"] = 5
    algorithm = settings.algorithm.model_copy(update=update)
    return settings.model_copy(update={"algorithm": algorithm, "n_envs": 4, **changes})


def run_of(settings: ApproachSettings, steps: int = 500, every: int = 200, seed: int = 0) -> RunSettings:
    game = resolve("ALE/Pong-v5").model_copy(update={"max_episode_frames": 160})
    return RunSettings(game=game, approach=settings, seed=seed, steps=steps, checkpoint_every=every)


class Impatient(Recorder):
    """Wants a checkpoint at once, in the middle of the second rollout: never when asked between two."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def progress(self, progress: Progress) -> None:
        super().progress(progress)
        self.asked = 0

    def wants_checkpoint(self) -> bool:
        self.asked += 1
        return not self.checkpoints and self.asked > 1


def near(one: Weights, other: Weights) -> bool:
    return all(np.allclose(one[name], other[name], rtol=0, atol=1e-4) for name in one)


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def assert_same_end(one: Recorder, other: Recorder) -> None:
    """Both trainings have come to the same weights, counters and environments."""
    assert same(one.checkpoints[-1].weights, other.checkpoints[-1].weights)
    assert undated(one.states[-1].counters) == undated(other.states[-1].counters)
    assert one.states[-1].environments == other.states[-1].environments


def undated(counters: Counters) -> dict[str, object]:
    """Without the moments at which episodes ended."""
    returns = [{"r": episode["r"], "l": episode["l"]} for episode in counters.returns]
    return counters.model_dump() | {"returns": returns}


def timeless(values: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if key not in ("time/fps", "time/time_elapsed")}


class Silent(BaseCallback):
    def _on_step(self) -> bool:
        return True

    def init(self, model: PPO) -> BaseCallback:
        self.init_callback(model)
        return self


def scaled(env):
    from gymnasium.spaces import Box
    from gymnasium.wrappers import TransformObservation

    space = Box(0, 1, (128,), np.float32)
    return TransformObservation(env, lambda ram: (ram / 255).astype(np.float32), space)
