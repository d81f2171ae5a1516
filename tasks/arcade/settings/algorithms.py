"""Every setting of a training, as frozen values: parameters in MLflow, JSON in checkpoints and traces."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from tasks.arcade.errors import RamreelError

SCHEMA = 1
"""Version of the files written: checkpoints and traces of a newer one are refused."""


class Settings(BaseModel):
    """A frozen value that refuses unknown keys."""

    # Built when first used: each process that a command begins imports all settings, and needs few of them.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


class NewerSchemaError(RamreelError, ValueError):
    """A file is of a newer schema; the message says which."""


class NotJsonError(RamreelError, ValueError):
    """A file is not JSON; the message says where it stops being so."""


S = TypeVar("S", bound=Settings)


def parsed(kind: type[S], raw: bytes) -> S:
    """A value from the JSON of a file.

    Raises:
        NotJsonError: it is not JSON.
        NewerSchemaError: its `schema` is newer than this program's.
        ValueError: it is not such a value; the message says where and why.
    """
    try:
        fields = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise NotJsonError(f"it is not JSON ({error})") from None
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise NewerSchemaError(f"schema {schema}; this ramreel reads up to {SCHEMA}: update ramreel")
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first of what is wrong with a value, and where in it."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where + ': ' if where else ''}{first['msg']}"


class GameSettings(Settings):
    """Everything that decides what an emulator does: with a seed and actions it gives the same RAM for ever."""

    env_id: str = Field(
        pattern=r"^[\w./:-]{1,100}$", description="Gymnasium's id, as ale-py registers it, e.g. ALE/Pong-v5"
    )
    rom: str = Field(pattern=r"^[a-z0-9_]+$", description="ale-py's name of the ROM, e.g. pong")
    frame_skip: int | tuple[int, int] = Field(
        description="frames a step; a pair (low, high) draws low <= n < high anew at every step"
    )
    repeat_action_probability: float = Field(
        ge=0, le=1, description="sticky actions: chance, at every frame, that the last action is repeated"
    )
    full_action_space: bool = Field(default=False, description="all 18 actions instead of the game's own few")
    mode: int | None = Field(default=None, description="the game's mode switch; none: the ROM's default")
    difficulty: int | None = Field(default=None, description="the difficulty switch; none: the ROM's default")
    max_episode_frames: int = Field(
        default=108_000, ge=1, le=1_000_000, description="frames after which an episode is truncated"
    )

    @field_validator("frame_skip")
    @classmethod
    def _frame_skip_is_possible(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        low, high = value if isinstance(value, tuple) else (value, value + 1)
        if not 1 <= low < high <= 61:
            raise ValueError(f"frame_skip {value} is not possible: 1 to 60 frames, a pair in rising order")
        return value


_Above0 = Annotated[float, Field(gt=0)]


class FeatureSettings(Settings):
    """How 128 RAM bytes, or the screen, become the network's input (tasks/arcade/policies/features.py)."""

    kind: Literal["scaled", "standardised", "bits", "pixels"] = Field(
        description="scaled: byte / 255; standardised: by running mean and deviation, beside the wrapped difference "
        "to the step before, and the gaps between movers; bits: the 1,024 bits of this step's RAM and of the RAM "
        "before; pixels: no RAM, the last four pictures of the screen, grey and 84 x 84"
    )
    clip: float = Field(default=3.0, gt=0, description="standardised features are cut at plus and minus this")
    difference_scale: float = Field(default=4.0, gt=0, description="the wrapped difference is divided by this")
    movers: int = Field(
        default=0, ge=0, le=32, description="standardised: so many smoothly moving bytes are compared pair by pair"
    )
    gap_scales: tuple[_Above0, ...] = Field(
        default=(8.0, 24.0, 64.0), description="the difference of two movers is divided by each of these"
    )
    gap_periods: tuple[_Above0, ...] = Field(
        default=(), description="of sines and cosines of that difference: they tell apart what is close together"
    )
    still_gain: float = Field(default=0.25, gt=0, description="what all other bytes count, once there are movers")
    survey_steps: int = Field(default=8192, ge=1, description="steps of training after which the movers are chosen")


class Convolution(Settings):
    """A layer that looks at every part of a picture alike."""

    channels: int = Field(ge=1, le=4096, description="that come out")
    side: int = Field(ge=1, le=84, description="pixels, of the square that it looks at")
    stride: int = Field(ge=1, le=84, description="pixels, from one square to the next")


class NetworkSettings(Settings):
    """The policy's and the value function's layers; actor and critic share the body and have a head each."""

    convolutions: tuple[Convolution, ...] = Field(
        default=(), description="in front of the body, where pixels are seen; shared as well"
    )
    body: tuple[int, ...] = Field(default=(), description="widths of the layers that both heads share")
    pi: tuple[int, ...] = Field(default=(64, 64), description="widths of the policy's own layers")
    vf: tuple[int, ...] = Field(default=(64, 64), description="widths of the value function's own layers")
    activation: Literal["tanh", "relu"] = Field(default="tanh", description="between the layers")
    layer_norm: bool = Field(default=False, description="LayerNorm before every activation")


class RecurrentNetworkSettings(NetworkSettings):
    """An LSTM for the policy and another one for the value function, on RAM; the layers come after them.

    The critic has its own because what a step is worth depends on what was seen before as much as what to do does. Of
    what sb3-contrib offers besides, one that both share would learn from the policy's gradient alone, and a critic
    without one would judge by half of what flickers.
    """

    convolutions: tuple[()] = Field(default=(), description="none: RAM is what is remembered")
    lstm: int = Field(default=128, ge=1, le=1024, description="hidden units of each LSTM")


_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)(e-?[0-9]+)?"
SCHEDULE = re.compile(rf"^lin_(?P<start>{_NUMBER})(_(?P<end>{_NUMBER})(_(?P<share>0?\.0*[1-9][0-9]*|1))?)?$")
Schedule = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=SCHEDULE.pattern)]
"""A number, or rl-baselines3-zoo's `lin_5e-4` (falls linearly to 0), or `lin_5e-4_5e-5` (falls to the second), or
`lin_5e-4_5e-5_0.6` (is there after that share of the training, and stays)."""

RolloutSteps = Annotated[int, Field(le=65_536, description="steps of each environment in a rollout")]
"""At most 65,536, more than the longest episode has (27,000): a rollout is held in memory, whole."""

_RATE = (
    "of the optimiser: a number, or lin_5e-4, falling to 0, or lin_5e-4_5e-5, falling to the second, or "
    "lin_5e-4_5e-5_0.6, which is there after that share of the training"
)
_LIVES = "nothing is to come after a lost life, as learning sees it; played and told of are whole episodes"
_LAMBDA = "of generalised advantage estimation: 1 looks at all that comes, 0 at the next step"


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
    unrewarded_lean: float = Field(
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


class QNetworkSettings(Settings):
    """The layers from features to what each action is worth."""

    layers: tuple[int, ...] = Field(default=(64, 64), description="widths of the layers before the last one")
    activation: Literal["tanh", "relu"] = Field(default="relu", description="between the layers")
    layer_norm: bool = Field(default=False, description="LayerNorm before every activation")


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

ApproachId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""What an approach is called."""


class ApproachSettings(Settings):
    """A named way to train: algorithm, features and hyper-parameters."""

    name: ApproachId = Field(description="what it is called in runs and comparisons")
    description: str = Field(description="what it is, in a line")
    algorithm: AlgorithmSettings = Field(
        discriminator="algorithm", description="how it learns, and its hyper-parameters"
    )
    features: FeatureSettings
    n_envs: int = Field(default=8, ge=1, le=1024, description="environments played side by side")
    reward: Literal["raw", "sign", "scaled", "root"] = Field(
        default="raw",
        description="what is learned from: the game's reward; its sign; the reward divided by the running deviation "
        "of the discounted return; the square root of its size, with its sign, divided likewise. Returns are reported "
        "unclipped whatever this is",
    )

    @field_validator("features")
    @classmethod
    def _pixels_are_convolved(cls, value: FeatureSettings, info: ValidationInfo) -> FeatureSettings:
        algorithm = info.data.get("algorithm")
        convolved = isinstance(algorithm, ActorCriticSettings) and bool(algorithm.network.convolutions)
        if convolved != (value.kind == "pixels"):
            raise ValueError("pixels need convolutions, as ppo-pixels has them; RAM needs none")
        return value


class RunSettings(Settings):
    """A training run, resolved: the same settings give the same weights on the same machine."""

    game: GameSettings
    approach: ApproachSettings
    seed: int = Field(ge=0, lt=2**31)
    steps: int = Field(ge=1, description="steps of training in all; the last rollout is played to its end")
    checkpoint_every: int = Field(ge=1, description="steps between checkpoints; one more is saved at the end")

    @field_validator("approach")
    @classmethod
    def _no_step_is_left_alone(cls, value: ApproachSettings) -> ApproachSettings:
        algorithm = value.algorithm
        if isinstance(algorithm, RecurrentPpoSettings):
            steps = value.n_envs * algorithm.n_steps
            if steps % algorithm.batch_size == 1:
                raise ValueError(
                    f"batches of {algorithm.batch_size} leave one of the {steps:,} steps of a rollout alone, and no "
                    "advantage can be normalised alone: choose another batch_size"
                )
        return value
