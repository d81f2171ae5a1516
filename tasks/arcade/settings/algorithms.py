"""Every setting of a training, as frozen values: parameters in MLflow, JSON in checkpoints and traces."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field

from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.networks import NetworkSettings, QNetworkSettings, RecurrentNetworkSettings

_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]+)?"
SCHEDULE = re.compile(rf"^lin_(?P<start>{_NUMBER})(_(?P<end>{_NUMBER})(_(?P<share>0?\.0*[1-9][0-9]*|1))?)?$")
Schedule = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=SCHEDULE.pattern)]
"""A number, or rl-baselines3-zoo's `lin_5e-4` (falls linearly to 0), or `lin_5e-4_5e-5` (falls to the second), or
`lin_5e-4_5e-5_0.6` (is there after that share of the training, and stays)."""

RolloutSteps = Annotated[int, Field(le=65_536, description="steps of each environment in a rollout")]
"""At most 65,536, more than the longest episode has (27,000): a rollout is held in memory, whole."""

_RATE = (
    "of the optimizer: a number, or lin_5e-4, falling to 0, or lin_5e-4_5e-5, falling to the second, or "
    "lin_5e-4_5e-5_0.6, which is there after that share of the training"
)
_LIVES = "nothing is to come after a lost life, as learning sees it; played and told of are whole episodes"
_LAMBDA = "of generalized advantage estimation: 1 looks at all that comes, 0 at the next step"


class ActorCriticSettings(Settings):
    """What Stable-Baselines3's on-policy algorithms share, in its names."""

    n_steps: RolloutSteps = Field(ge=1)
    learning_rate: Schedule = Field(description=_RATE)
    gamma: float = Field(default=0.99, ge=0, le=1, description="discount of what comes a step later")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description=_LAMBDA)
    ent_coef: Schedule = Field(default=0.0, description="what trying things out counts; a number or lin_1e-2")
    vf_coef: float = Field(default=0.5, ge=0, description="what the value function's error counts")
    max_grad_norm: float = Field(default=0.5, gt=0, description="longer gradients are cut to this length")
    terminal_on_life_loss: bool = Field(default=False, description=_LIVES)
    pipelined: bool = Field(
        default=False,
        description="the next rollout is played while the last one is learned from, so with the weights from before",
    )
    network: NetworkSettings = NetworkSettings()


class ClippedSettings(ActorCriticSettings):
    """What PPO and its recurrent kin share; the defaults are Stable-Baselines3's."""

    n_steps: RolloutSteps = Field(default=2048, ge=2)
    batch_size: int = Field(default=64, ge=2, description="steps that are learned from at once")
    n_epochs: int = Field(default=10, ge=1, description="how often each rollout is learned from")
    learning_rate: Schedule = Field(default=3e-4, description=_RATE)
    clip_range: Schedule = Field(default=0.2, description="how far a policy may move at once; a number or lin_0.2")
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW; 0 is Adam")
    no_reward_logit_noise: float = Field(
        default=0.0,
        ge=0,
        description="after a rollout without reward each environment leans, for the next one, to actions of its own: "
        "the deviation of what is added to its preferences; 0: it does not",
    )


class PpoSettings(ClippedSettings):
    """PPO (Schulman et al. 2017)."""

    algorithm: Literal["ppo"] = Field(default="ppo", description="PPO")


class RecurrentPpoSettings(ClippedSettings):
    """PPO with a memory: an LSTM (Hochreiter and Schmidhuber 1997), learned through as many steps as a rollout has."""

    algorithm: Literal["recurrent-ppo"] = Field(default="recurrent-ppo", description="PPO with an LSTM")
    network: RecurrentNetworkSettings = RecurrentNetworkSettings()


class A2cSettings(ActorCriticSettings):
    """A2C (Mnih et al. 2016, synchronous); the defaults are Stable-Baselines3's."""

    algorithm: Literal["a2c"] = Field(default="a2c", description="A2C")
    n_steps: RolloutSteps = Field(default=5, ge=1)
    learning_rate: Schedule = Field(default=7e-4, description=_RATE)
    gae_lambda: float = Field(default=1.0, ge=0, le=1, description=_LAMBDA)


class OffPolicySettings(Settings):
    """What Stable-Baselines3's value-based algorithms share, in its names.

    They learn what each action is worth from a replay buffer, and play the action that is worth most, or now and then
    any. Each step is learned from about as often as rl-baselines3-zoo's settings for Atari do (8 times), but in fewer
    and larger batches after longer play, which two cores do faster.
    """

    learning_rate: Schedule = Field(default=5e-4, description=_RATE)
    buffer_size: int = Field(default=200_000, ge=1, le=10**7, description="steps that the replay buffer holds")
    learning_starts: int = Field(default=10_000, ge=0, description="steps of play at random before anything is learned")
    batch_size: int = Field(default=256, ge=1, description="steps that are learned from at once")
    tau: float = Field(default=1.0, gt=0, le=1, description="how much of the target network is renewed; 1: all")
    gamma: float = Field(default=0.99, ge=0, le=1, description="discount of what comes a step later")
    train_freq: RolloutSteps = Field(default=64, ge=1)
    gradient_steps: int = Field(
        default=32, ge=-1, description="batches learned from after each rollout; -1: as many as it has steps"
    )
    target_update_interval: int = Field(default=4_000, ge=1, description="steps between renewals of the target network")
    exploration_fraction: float = Field(
        default=0.1, gt=0, le=1, description="of the training, in which exploration falls to its end"
    )
    exploration_initial_eps: float = Field(default=1.0, ge=0, le=1, description="share of random actions at first")
    exploration_final_eps: float = Field(
        default=0.01, ge=0, lt=1, description="share of random actions in the end, and when a checkpoint is judged"
    )
    max_grad_norm: float = Field(default=10.0, gt=0, description="longer gradients are cut to this length")
    terminal_on_life_loss: bool = Field(default=False, description=_LIVES)
    network: QNetworkSettings = QNetworkSettings()

    @property
    def n_steps(self) -> int:
        """Steps of each environment in a rollout, as the other algorithms call it."""
        return self.train_freq


class DqnSettings(OffPolicySettings):
    """DQN (Mnih et al. 2015)."""

    algorithm: Literal["dqn"] = Field(default="dqn", description="DQN")


class QrDqnSettings(OffPolicySettings):
    """QR-DQN (Dabney et al. 2018): of what an action is worth the distribution, as quantiles; played by their mean."""

    algorithm: Literal["qrdqn"] = Field(default="qrdqn", description="QR-DQN")
    n_quantiles: int = Field(default=32, ge=1, le=1000, description="quantiles of each action's worth")


class UnlearnedSettings(Settings):
    """Nothing learned: uniformly random actions, the floor under every comparison; or never a button pressed."""

    algorithm: Literal["random", "noop"] = Field(default="random", description="any action, or no button ever")
    n_steps: RolloutSteps = Field(default=256, ge=1)


AlgorithmSettings = PpoSettings | RecurrentPpoSettings | A2cSettings | DqnSettings | QrDqnSettings | UnlearnedSettings
