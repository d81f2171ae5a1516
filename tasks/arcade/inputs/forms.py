"""What a person asks for: the form in Prefect's UI, what a command was given."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.arcade.inputs.fields import Approach, EnvId, Name, Seed, approach_name, short
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings


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
        default=None, description="how its checkpoints are judged by whoever videos them; none: by 10 episodes"
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


class RecordSettings(Settings):
    """What a person asks for when a run's checkpoints are recorded."""

    run: str = Field(description="MLflow run id, a beginning of it, a run name, or latest")
    evaluation: EvaluationSettings | None = Field(
        default=None, description="none: as was asked for with the training, else 10 episodes"
    )
    video: VideoSettings = VideoSettings()
    again: bool = Field(default=False, description="make videos and metrics again that exist already")
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
    normalized: bool = Field(
        default=False, description="several games, or games set up differently, in human-normalized scores"
    )
    name: Name | None = Field(default=None, description="the comparison's run name in MLflow")
    experiment: Name | None = Field(default=None, description="MLflow experiment; none: that of the first run")

    @property
    def title(self) -> str:
        """What a person calls this comparison."""
        return ", ".join(map(short, self.runs))


class PipelineSettings(Settings):
    """What a person asks for when approaches are trained, recorded and compared in one go."""

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
    """What a person asks for when a run's learning is recorded, alone or beside another run's."""

    runs: tuple[str, ...] = Field(min_length=1, max_length=2, description="one run, or two of one game")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the episode that every checkpoint plays")
    deterministic: bool = Field(default=False, description="the likeliest action instead of a sampled one")
    seconds: float = Field(default=20.0, ge=1, le=3600, description="of each episode that are shown, at most")

    @property
    def title(self) -> str:
        """What a person calls this reel."""
        return " and ".join(map(short, self.runs))


EPISODES = 30

Cause = Literal["game", "checkpoint", "collapse"]


class GuardSettings(Settings):
    """What a person asks for when champions are looked at."""

    env_id: EnvId | None = Field(default=None, description="only this game's champion; none: every champion")
    episodes: int = Field(default=EPISODES, ge=10, le=10_000, description="fresh episodes that each champion plays")

    @property
    def title(self) -> str:
        """What a person calls this look."""
        return self.env_id or "all champions"


class FollowUpSettings(Settings):
    """What a person asks for when a finished training is looked at."""

    run: str = Field(description="MLflow run id, a beginning of it, a run name, or latest")
    earlier: int = Field(default=5, ge=0, le=100, description="so many earlier trainings of its game are compared")

    @property
    def title(self) -> str:
        """What a person calls this."""
        return short(self.run)


class RetrainSettings(Settings):
    """What is asked for when a game's champion is no longer what it was."""

    env_id: EnvId
    cause: Cause = Field(
        default="checkpoint",
        description="game: the emulator plays otherwise, so train from scratch; checkpoint, collapse: go on from the "
        "champion's last good checkpoint",
    )
    steps: int | None = Field(
        default=None, ge=1, le=10**10, description="steps of new training; none: as many as the champion was trained"
    )
    workers: int | None = Field(default=None, ge=1, le=256, description="worker processes; none: one a core")
    cool_down_hours: float = Field(default=24, ge=0, description="hours between two retrainings of a game")
    at_most: int = Field(default=3, ge=1, description="retrainings for one champion; then a person is asked")

    @property
    def title(self) -> str:
        """What a person calls this retraining."""
        return f"{self.env_id} ({self.cause})"
