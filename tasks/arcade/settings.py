"""Every setting, as frozen values: form in Prefect's UI, parameters in MLflow, JSON in checkpoints and traces."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal, TypeVar

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

SCHEMA = 1
"""Version of the files written: checkpoints and traces of a newer one are refused."""


class Settings(BaseModel):
    """A frozen value that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def newer_schema(fields: object) -> str:
    """What to say of a file whose `schema` is newer than this program's; empty if it is not."""
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        return f"schema {schema}; this ramreel reads up to {SCHEMA}: update ramreel"
    return ""


class NewerSchemaError(ValueError):
    """A file is of a newer schema; the message says which."""


S = TypeVar("S", bound=Settings)


def parsed(kind: type[S], raw: bytes) -> S:
    """A value from the JSON of a file.

    Raises:
        NewerSchemaError: it is of a newer schema.
        ValueError: it is not JSON, or not such a value; the message says where and why.
    """
    try:
        fields = pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from None
    if newer := newer_schema(fields):
        raise NewerSchemaError(newer)
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


class FeatureSettings(Settings):
    """How 128 RAM bytes, or the screen, become the network's input (tasks/arcade/features.py)."""

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
    gap_scales: tuple[float, ...] = Field(
        default=(8.0, 24.0, 64.0), description="the difference of two movers is divided by each of these"
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


SCHEDULE = re.compile(r"^lin_(?P<start>[0-9.]+(e-?[0-9]+)?)(_(?P<end>[0-9.]+(e-?[0-9]+)?))?$")
Schedule = Annotated[float, Field(ge=0)] | Annotated[str, Field(pattern=SCHEDULE.pattern)]
"""A number, or rl-baselines3-zoo's `lin_5e-4` (falls linearly to 0), or `lin_5e-4_5e-5` (falls to the second)."""


_RATE = "of the optimiser: a number, or lin_5e-4, falling to 0, or lin_5e-4_5e-5, falling to the second"
_LAMBDA = "of generalised advantage estimation: 1 looks at all that comes, 0 at the next step"


class ActorCriticSettings(Settings):
    """What Stable-Baselines3's on-policy algorithms share, in its names."""

    n_steps: int = Field(ge=1, description="steps of each environment in a rollout")
    learning_rate: Schedule = Field(description=_RATE)
    gamma: float = Field(default=0.99, ge=0, le=1, description="discount of what comes a step later")
    gae_lambda: float = Field(default=0.95, ge=0, le=1, description=_LAMBDA)
    ent_coef: Schedule = Field(default=0.0, description="what trying things out counts; a number or lin_1e-2")
    vf_coef: float = Field(default=0.5, ge=0, description="what the value function's error counts")
    max_grad_norm: float = Field(default=0.5, gt=0, description="longer gradients are cut to this length")
    pipelined: bool = Field(
        default=False,
        description="the next rollout is played while the last one is learned from, so with the weights from before",
    )
    network: NetworkSettings = NetworkSettings()


class PpoSettings(ActorCriticSettings):
    """PPO (Schulman et al. 2017); the defaults are Stable-Baselines3's."""

    algorithm: Literal["ppo"] = Field(default="ppo", description="PPO")
    n_steps: int = Field(default=2048, ge=2, description="steps of each environment in a rollout")
    batch_size: int = Field(default=64, ge=2, description="steps that are learned from at once")
    n_epochs: int = Field(default=10, ge=1, description="how often each rollout is learned from")
    learning_rate: Schedule = Field(default=3e-4, description=_RATE)
    clip_range: Schedule = Field(default=0.2, description="how far a policy may move at once; a number or lin_0.2")
    weight_decay: float = Field(default=0.0, ge=0, description="of AdamW; 0 is Adam")


class A2cSettings(ActorCriticSettings):
    """A2C (Mnih et al. 2016, synchronous); the defaults are Stable-Baselines3's."""

    algorithm: Literal["a2c"] = Field(default="a2c", description="A2C")
    n_steps: int = Field(default=5, ge=1, description="steps of each environment in a rollout")
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
    train_freq: int = Field(default=64, ge=1, description="steps of each environment in a rollout")
    gradient_steps: int = Field(
        default=32, ge=-1, description="batches learned from after each rollout; -1: as many as it has steps"
    )
    target_update_interval: int = Field(default=4_000, ge=1, description="steps between renewals of the target network")
    exploration_fraction: float = Field(
        default=0.1, gt=0, le=1, description="of the training, in which exploration falls to its end"
    )
    exploration_initial_eps: float = Field(default=1.0, ge=0, le=1, description="share of random actions at first")
    exploration_final_eps: float = Field(
        default=0.01, ge=0, le=1, description="share of random actions in the end, and when a checkpoint is judged"
    )
    max_grad_norm: float = Field(default=10.0, gt=0, description="longer gradients are cut to this length")
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
    n_steps: int = Field(default=256, ge=1, description="steps of each environment in a rollout")


ApproachId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
"""What an approach is called."""


class ApproachSettings(Settings):
    """A named way to train: algorithm, features and hyper-parameters."""

    name: ApproachId = Field(description="what it is called in runs and comparisons")
    description: str = Field(description="what it is, in a line")
    algorithm: PpoSettings | A2cSettings | DqnSettings | QrDqnSettings | UnlearnedSettings = Field(
        discriminator="algorithm", description="how it learns, and its hyper-parameters"
    )
    features: FeatureSettings
    n_envs: int = Field(default=8, ge=1, le=1024, description="environments played side by side")
    reward: Literal["raw", "sign", "scaled"] = Field(
        default="raw",
        description="what is learned from: the game's reward; its sign; the reward divided by the running deviation "
        "of the discounted return. Returns are reported unclipped whatever this is",
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


def _offer_games(schema: dict[str, Any]) -> None:
    """A form offers today's games to choose from; an old id can be typed."""
    from tasks.arcade.game import environment_ids

    games = [name for name in environment_ids() if name.endswith("-v5")]
    schema["anyOf"] = [
        {"title": "game", "type": "string", "enum": games},
        {"title": "any id", "type": schema.pop("type")},
    ]


def _offer_approaches(schema: dict[str, Any]) -> None:
    """A form offers the named approaches."""
    from tasks.arcade.approaches import APPROACHES

    schema["enum"] = list(APPROACHES)


EnvId = Annotated[
    str,
    Field(
        title="Game",
        description="environment id, e.g. ALE/Pong-v5; old ones (Pong-ram-v0) are understood",
        json_schema_extra=_offer_games,
    ),
]
ApproachName = Annotated[
    str, Field(title="Approach", description="a named way to train", json_schema_extra=_offer_approaches)
]
Approach = ApproachName | ApproachSettings
"""A named one, or a user's own as a value."""


def approach_name(approach: Approach) -> str:
    return approach if isinstance(approach, str) else approach.name


Seed = Annotated[int, Field(ge=0, lt=2**31)]

_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters after which a page shows text the other way round."""


def _is_a_name(name: str) -> str:
    if not name.strip() or not is_shown(name):
        raise ValueError("a name is a line of text that can be seen, without control characters")
    return name


def is_shown(text: str) -> bool:
    """Whether a text is one line that is shown as it is: nothing in it moves a cursor, changes a colour or turns."""
    return not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or one in _TURNING for one in text)


Name = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_is_a_name)]
"""What a person calls something in MLflow."""


def short(run: str) -> str:
    """A run's id as a person reads it: its first 8 digits; a name stays a name."""
    return run[:8] if re.fullmatch(r"[0-9a-f]{32}", run) else run


class TrainSettings(Settings):
    """What a person asks for when a training is started."""

    env_id: EnvId
    approach: Approach = Field(default="ppo-tuned", description="a named way to train, or one of your own")
    seed: int = Field(default=0, ge=0, lt=2**31, description="another seed is another training")
    steps: int = Field(default=1_000_000, ge=1, le=10**10, description="steps of training in all")
    checkpoint_every: int = Field(default=100_000, ge=1, description="steps between checkpoints")
    n_envs: int | None = Field(default=None, ge=1, le=1024, description="environments; none: the approach's own")
    workers: int | None = Field(default=None, ge=1, le=256, description="worker processes; none: one a core")
    name: Name | None = Field(default=None, description="the run's name in MLflow; none: approach and seed")
    experiment: Name | None = Field(default=None, description="MLflow experiment; none: the environment id")

    @property
    def title(self) -> str:
        """What a person calls this training."""
        return f"{self.env_id} {approach_name(self.approach)} seed {self.seed}"


class ResumeSettings(Settings):
    """What a person asks for when a training goes on."""

    run: str = Field(description="MLflow run id, a beginning of it, a run name, or latest")
    steps: int | None = Field(default=None, ge=1, le=10**10, description="steps in all; none: as asked for before")
    workers: int | None = Field(default=None, ge=1, le=256, description="worker processes; none: one a core")

    @property
    def title(self) -> str:
        """What a person calls this."""
        return short(self.run)


class EvaluationSettings(Settings):
    """How a checkpoint is judged: whole seeded episodes, on seeds apart from training's."""

    episodes: int = Field(default=10, ge=1, le=10_000, description="that each checkpoint plays")
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed is the same episodes for every checkpoint")
    deterministic: bool = Field(default=False, description="the likeliest action instead of a sampled one")


class FilmSettings(Settings):
    """Which of a checkpoint's episodes are filmed, and what the films show."""

    episode: Literal["median", "best", "worst", "all"] = Field(
        default="median", description="by their returns; all: every one, and the median one is the checkpoint's film"
    )
    panel: bool = Field(default=True, description="beside the game what the policy sees and decides")


class RecordSettings(Settings):
    """What a person asks for when a run's checkpoints are filmed."""

    run: str = Field(description="MLflow run id, a beginning of it, a run name, or latest")
    evaluation: EvaluationSettings = EvaluationSettings()
    film: FilmSettings = FilmSettings()
    again: bool = Field(default=False, description="make films and metrics again that exist already")
    steps: tuple[int, ...] | None = Field(default=None, description="only these checkpoints; none: all")
    last: bool = Field(default=False, description="only the last checkpoint")

    @property
    def title(self) -> str:
        """What a person calls this recording."""
        return short(self.run)


class CompareSettings(Settings):
    """What a person asks for when runs are compared."""

    runs: tuple[str, ...] = Field(min_length=1, description="run ids, beginnings of ids, or run names, of one game")
    against: tuple[str, ...] = Field(
        default=(), description="the baseline: runs, or `champion`, that the others are held against"
    )
    normalised: bool = Field(
        default=False, description="several games, or games set up differently, in human-normalised scores"
    )
    name: Name | None = Field(default=None, description="the comparison's run name in MLflow")
    experiment: Name | None = Field(default=None, description="MLflow experiment; none: that of the first run")

    @property
    def title(self) -> str:
        """What a person calls this comparison."""
        return ", ".join(map(short, self.runs))


class PipelineSettings(Settings):
    """What a person asks for when approaches are trained, filmed and compared in one go."""

    env_id: EnvId
    approaches: tuple[Approach, ...] = Field(
        min_length=1, description="ways to train, named or of your own, each with every seed"
    )
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, description="of the trainings")
    steps: int = Field(default=1_000_000, ge=1, le=10**10, description="steps of each training in all")
    checkpoint_every: int = Field(default=100_000, ge=1, description="steps between checkpoints")
    n_envs: int | None = Field(default=None, ge=1, le=1024, description="environments; none: the approach's own")
    workers: int | None = Field(default=None, ge=1, le=256, description="worker processes; none: one a core")
    evaluation: EvaluationSettings = EvaluationSettings()
    experiment: Name | None = Field(default=None, description="MLflow experiment; none: the environment id")
    name: Name | None = Field(default=None, description="the comparison's run name in MLflow")

    @property
    def title(self) -> str:
        """What a person calls this pipeline."""
        return f"{self.env_id} {', '.join(map(approach_name, self.approaches))} seeds {', '.join(map(str, self.seeds))}"


class LearningSettings(Settings):
    """What a person asks for when approaches are benchmarked over games and seeds."""

    env_ids: tuple[str, ...] = Field(min_length=1)
    approaches: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Seed, ...] = Field(min_length=1)
    steps: int = Field(default=2_000_000, ge=1, le=10**10)
    checkpoint_every: int = Field(default=250_000, ge=1)
    episodes: int = Field(default=30, ge=1, le=10_000, description="of each run's last checkpoint, on fresh seeds")
    evaluation_seed: int = Field(default=1, ge=0, lt=2**31)
    thresholds: tuple[float, ...] = Field(default=(0.0, 18.0), description="returns whose first step is told")

    @property
    def title(self) -> str:
        """What a person calls this benchmark."""
        return f"{len(self.env_ids)} games, {', '.join(self.approaches)}, seeds {', '.join(map(str, self.seeds))}"


class AtlasSettings(Settings):
    """What a person asks for when it is found out what a game's bytes do on the screen."""

    env_id: str
    states: int = Field(default=64, ge=1, le=10_000, description="states of play in which every byte is changed")
    steps: int = Field(default=12_000, ge=1, le=10**7, description="steps of play that the states are taken from")
    seed: int = Field(default=0, ge=0, lt=2**31)
    run: str | None = Field(default=None, description="a run whose last checkpoint plays; none: random play")
    name: Name | None = Field(default=None, description="the atlas's run name in MLflow")
    experiment: Name | None = Field(default=None, description="MLflow experiment; none: the environment id")

    @property
    def title(self) -> str:
        """What a person calls this atlas."""
        return f"{self.env_id}, {self.states} states"


class ReelSettings(Settings):
    """What a person asks for when a run's learning is filmed, alone or beside another run's."""

    runs: tuple[str, ...] = Field(min_length=1, max_length=2, description="one run, or two of one game")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the episode that every checkpoint plays")
    deterministic: bool = Field(default=False, description="the likeliest action instead of a sampled one")
    seconds: float = Field(default=20.0, ge=1, le=3600, description="of each episode that are shown, at most")

    @property
    def title(self) -> str:
        """What a person calls this reel."""
        return " and ".join(map(short, self.runs))
