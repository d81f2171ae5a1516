"""Hyperparameters of each algorithm, under Stable-Baselines3's names."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.networks import NetworkSettings, QNetworkSettings, RecurrentNetworkSettings

_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]+)?"
SCHEDULE = re.compile(rf"^lin_(?P<start>{_NUMBER})(_(?P<end>{_NUMBER})(_(?P<share>0?\.0*[1-9][0-9]*|1))?)?$")
Schedule = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=SCHEDULE.pattern)]
"""A constant, or rl-baselines3-zoo's `lin_5e-4` (linear decay to 0), extended by `lin_5e-4_5e-5` (linear decay to the
second value) and `lin_5e-4_5e-5_0.6` (which is reached after that fraction of training, and then held)."""

RolloutSteps = Annotated[int, Field(le=65_536, description="Steps per environment in each rollout")]
"""Limited because a whole rollout is held in memory; the longest episode has 27,000 steps."""

_LEARNING_RATE = (
    "Learning rate: a number, or lin_5e-4 (linear decay to 0), lin_5e-4_5e-5 (to the second value), "
    "lin_5e-4_5e-5_0.6 (reached after that fraction of training)"
)
_GAMMA = "Discount factor"
_GAE_LAMBDA = "GAE lambda: bias-variance trade-off of the advantage estimator (1 = Monte Carlo, 0 = one-step TD)"
_MAX_GRAD_NORM = "Maximum norm for gradient clipping"
_TERMINAL_ON_LIFE_LOSS = (
    "Treat a lost life as the end of an episode when learning; rollouts and reported returns are still whole episodes"
)


class LearningSettings(Settings):
    """Base class of every algorithm's hyperparameters; `tasks/arcade/policies/algorithms.py` lists the algorithms."""

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return True

    @property
    def convolutional(self) -> bool:
        """Whether the network has convolutions, as it must for pixel observations."""
        return False

    def check_rollout_size(self, steps: int) -> None:
        """Raise ValueError if a rollout of this many steps, over all environments, cannot be split into batches."""


class ActorCriticSettings(LearningSettings):
    """Hyperparameters shared by the on-policy algorithms."""

    n_steps: RolloutSteps = Field(ge=1)
    learning_rate: Schedule = Field(description=_LEARNING_RATE)
    gamma: float = Field(default=0.99, ge=0, le=1, description=_GAMMA)
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description=_GAE_LAMBDA)
    ent_coef: Schedule = Field(
        default=0.0, description="Entropy coefficient of the loss: a number, or a linear schedule such as lin_1e-2"
    )
    vf_coef: float = Field(default=0.5, ge=0, description="Value-function coefficient of the loss")
    max_grad_norm: float = Field(default=0.5, gt=0, description=_MAX_GRAD_NORM)
    terminal_on_life_loss: bool = Field(default=False, description=_TERMINAL_ON_LIFE_LOSS)
    pipelined: bool = Field(
        default=False,
        description="Collect the next rollout while training on the last one, with a policy that is one update old",
    )
    network: NetworkSettings = Field(default=NetworkSettings(), description="Architecture of the network")

    @property
    def convolutional(self) -> bool:
        return bool(self.network.convolutions)


class ClippedSettings(ActorCriticSettings):
    """Hyperparameters shared by PPO and recurrent PPO; the defaults are Stable-Baselines3's."""

    n_steps: RolloutSteps = Field(default=2048, ge=2)
    batch_size: int = Field(default=64, ge=2, description="Minibatch size")
    n_epochs: int = Field(default=10, ge=1, description="Number of optimization epochs per rollout")
    learning_rate: Schedule = Field(default=3e-4, description=_LEARNING_RATE)
    clip_range: Schedule = Field(
        default=0.2, description="Clip range of the policy ratio: a number, or a linear schedule such as lin_0.2"
    )
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay coefficient of AdamW (0 = Adam)")
    no_reward_logit_noise: float = Field(
        default=0.0,
        ge=0,
        description="Exploration after a rollout without any reward: standard deviation of the Gaussian noise added to "
        "the logits, drawn once per environment and rollout (0 = off)",
    )


class PpoSettings(ClippedSettings):
    """PPO (Schulman et al. 2017)."""

    algorithm: Literal["ppo"] = Field(default="ppo", description="PPO")


class RecurrentPpoSettings(ClippedSettings):
    """Recurrent PPO: PPO with an LSTM (Hochreiter and Schmidhuber 1997), backpropagated through a whole rollout."""

    algorithm: Literal["recurrent-ppo"] = Field(default="recurrent-ppo", description="PPO with an LSTM")
    network: RecurrentNetworkSettings = Field(
        default=RecurrentNetworkSettings(), description="Architecture of the network"
    )

    def check_rollout_size(self, steps: int) -> None:
        """Raise ValueError if the last batch of a rollout would be a single step."""
        if steps % self.batch_size == 1:
            raise ValueError(
                f"batch_size {self.batch_size} leaves a last batch of one of the rollout's {steps:,} steps, whose "
                "advantage cannot be normalized: choose another batch_size"
            )


class A2cSettings(ActorCriticSettings):
    """A2C, the synchronous variant of A3C (Mnih et al. 2016); the defaults are Stable-Baselines3's."""

    algorithm: Literal["a2c"] = Field(default="a2c", description="A2C")
    n_steps: RolloutSteps = Field(default=5, ge=1)
    learning_rate: Schedule = Field(default=7e-4, description=_LEARNING_RATE)
    gae_lambda: float = Field(default=1.0, ge=0, le=1, description=_GAE_LAMBDA)


class OffPolicySettings(LearningSettings):
    """Hyperparameters shared by the value-based algorithms: epsilon-greedy play, learning from a replay buffer.

    Each transition is sampled about as often as with rl-baselines3-zoo's Atari settings (8 times), but in fewer and
    larger batches after longer rollouts, which is faster on two cores.
    """

    learning_rate: Schedule = Field(default=5e-4, description=_LEARNING_RATE)
    buffer_size: int = Field(default=200_000, ge=1, le=10**7, description="Size of the replay buffer in steps")
    learning_starts: int = Field(
        default=10_000, ge=0, description="Steps of uniformly random play before learning starts"
    )
    batch_size: int = Field(default=256, ge=1, description="Minibatch size")
    tau: float = Field(
        default=1.0, gt=0, le=1, description="Polyak averaging coefficient for the target network (1 = hard update)"
    )
    gamma: float = Field(default=0.99, ge=0, le=1, description=_GAMMA)
    train_freq: RolloutSteps = Field(default=64, ge=1)
    gradient_steps: int = Field(
        default=32, ge=-1, description="Gradient steps after each rollout (-1 = as many as steps in the rollout)"
    )
    target_update_interval: int = Field(default=4_000, ge=1, description="Steps between updates of the target network")
    exploration_fraction: float = Field(
        default=0.1, gt=0, le=1, description="Fraction of training over which the exploration rate is annealed"
    )
    exploration_initial_eps: float = Field(
        default=1.0, ge=0, le=1, description="Initial probability of a random action"
    )
    exploration_final_eps: float = Field(
        default=0.01, ge=0, lt=1, description="Final random-action probability, also used in evaluation"
    )
    max_grad_norm: float = Field(default=10.0, gt=0, description=_MAX_GRAD_NORM)
    terminal_on_life_loss: bool = Field(default=False, description=_TERMINAL_ON_LIFE_LOSS)
    network: QNetworkSettings = Field(default=QNetworkSettings(), description="Architecture of the network")

    @property
    def n_steps(self) -> int:
        """Steps per environment in each rollout, under the on-policy algorithms' name."""
        return self.train_freq


class DqnSettings(OffPolicySettings):
    """DQN (Mnih et al. 2015)."""

    algorithm: Literal["dqn"] = Field(default="dqn", description="DQN")


class QrDqnSettings(OffPolicySettings):
    """QR-DQN (Dabney et al. 2018): quantiles of the return distribution; actions are chosen by their mean."""

    algorithm: Literal["qrdqn"] = Field(default="qrdqn", description="QR-DQN")
    n_quantiles: int = Field(default=32, ge=1, le=1000, description="Number of quantiles of the return distribution")


class UnlearnedSettings(LearningSettings):
    """Baselines without learning: uniformly random actions, or NOOP at every step."""

    algorithm: Literal["random", "noop"] = Field(default="random", description="Uniformly random actions or NOOP")
    n_steps: RolloutSteps = Field(default=256, ge=1)

    @property
    def learns(self) -> bool:
        return False


AlgorithmSettings = PpoSettings | RecurrentPpoSettings | A2cSettings | DqnSettings | QrDqnSettings | UnlearnedSettings
