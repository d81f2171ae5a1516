"""What a person asks for: the form in Prefect's UI, what a command was given."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tasks.arcade.settings.algorithms import ApproachSettings, Settings


def _offer_games(schema: dict[str, Any]) -> None:
    """A form offers today's games to choose from; an old id can be typed."""
    from tasks.arcade.emulator.emulator import environment_ids

    games = [name for name in environment_ids() if name.endswith("-v5")]
    schema["anyOf"] = [
        {"title": "game", "type": "string", "enum": games},
        {"title": "any id", "type": schema.pop("type")},
    ]


def _offer_approaches(schema: dict[str, Any]) -> None:
    """A form offers the named approaches."""
    from tasks.arcade.settings.approaches import APPROACHES

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


class EvaluationSettings(Settings):
    """How a checkpoint is judged: whole seeded episodes, on seeds apart from training's."""

    episodes: int = Field(default=10, ge=1, le=10_000, description="that each checkpoint plays")
    seed: int = Field(default=0, ge=0, lt=2**31, description="the same seed is the same episodes for every checkpoint")
    deterministic: bool = Field(default=False, description="the likeliest action instead of a sampled one")


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
    evaluation: EvaluationSettings | None = Field(
        default=None, description="how its checkpoints are judged by whoever films them; none: by 10 episodes"
    )

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


class FilmSettings(Settings):
    """Which of a checkpoint's episodes are filmed, and what the films show."""

    episode: Literal["median", "best", "worst", "all"] = Field(
        default="median", description="by their returns; all: every one, and the median one is the checkpoint's film"
    )
    panel: bool = Field(default=True, description="beside the game what the policy sees and decides")


class RecordSettings(Settings):
    """What a person asks for when a run's checkpoints are filmed."""

    run: str = Field(description="MLflow run id, a beginning of it, a run name, or latest")
    evaluation: EvaluationSettings | None = Field(
        default=None, description="none: as was asked for with the training, else 10 episodes"
    )
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
