"""Input models of the flows that a person starts: a deployment's form in Prefect's UI, and the options of a command.

Each default, limit and description is declared here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from tasks.arcade.inputs.fields import (
    PARSE_COUNT,
    Approach,
    ApproachName,
    CheckpointInterval,
    EnvId,
    Experiment,
    Name,
    RunReference,
    Seed,
    Steps,
    Workers,
    approach_name,
    name_kinds_of_approach,
    short,
)
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import FRESH_EPISODES, EvaluationSettings, PixelMethod, VideoSettings

_MAX_COMPARED = 240
"""Runs of one comparison, whose ids fit into one MLflow tag of 8,000 characters."""

_EVALUATION = EvaluationSettings()


class _GameSettings(Settings):
    env_id: EnvId


class TrainingSettings(_GameSettings):
    """Settings that a training run shares with the runs of a pipeline.

    pydantic orders the fields of a form by the reversed method resolution order, so a subclass that names another base
    after this one shows that base's fields first.
    """

    steps: Steps = Field(default=1_000_000, description="Total environment steps per training run")
    checkpoint_every: CheckpointInterval = 100_000
    n_envs: int | None = Field(
        default=None,
        title="Environments",
        ge=1,
        le=1024,
        description="Number of parallel environments (default: the approach's)",
    )
    workers: Workers = None
    experiment: Experiment = None


class _ApproachAndSeed(_GameSettings):
    approach: Approach = Field(
        default="ppo-tuned",
        description="Named approach, or a user-defined one",
        json_schema_extra=name_kinds_of_approach,
    )
    seed: Seed = Field(default=0, description="Training seed")


class TrainSettings(TrainingSettings, _ApproachAndSeed):
    """Train an approach on a game."""

    name: Name | None = Field(default=None, description="Run name in MLflow (default: approach and seed)")
    evaluation: EvaluationSettings | None = Field(
        default=_EVALUATION, description="Evaluation settings for this run's checkpoints"
    )

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return f"{self.env_id} {approach_name(self.approach)} seed {self.seed}"

    @property
    def run_name(self) -> str:
        """Run name in MLflow."""
        return self.name or f"{approach_name(self.approach)} seed {self.seed}"


class ResumeSettings(Settings):
    """Resume a training run from its last checkpoint."""

    run: RunReference
    steps: Steps | None = Field(default=None, description="Total environment steps (default: as configured before)")
    workers: Workers = None

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return short(self.run)


class RecordSettings(Settings):
    """Evaluate and record the checkpoints of a run."""

    run: RunReference
    evaluation: EvaluationSettings | None = Field(
        default=None,
        description="Evaluation settings; those left empty are the training run's, by default "
        f"{_EVALUATION.episodes} episodes",
    )
    video: VideoSettings = Field(default=VideoSettings(), description="Video settings")
    again: bool = Field(default=False, description="Replace existing videos and evaluation metrics")
    steps: tuple[Annotated[int, PARSE_COUNT], ...] | None = Field(
        default=None, description="Record only the checkpoints at these steps (default: all checkpoints)"
    )
    last: bool = Field(default=False, description="Record only the last checkpoint")
    from_pixels: bool = Field(
        default=False,
        description="Let a policy on RAM play from pictures: a second video, with the RAM read from them beside the "
        "emulator's, and returns from true, followed and decoded RAM",
    )
    method: PixelMethod = Field(
        default="follow",
        description="How RAM is read from pixels: follow, by a second emulator that follows pictures and actions, or "
        "decode, by a trained decoder",
    )
    decoder: str | None = Field(
        default=None,
        description="Run of the decoder with which RAM is read from pixels (default: the newest decoder of the game)",
    )

    @field_validator("evaluation", mode="before")
    @classmethod
    def _leave_out_empty_fields(cls, evaluation: object) -> object:
        """Take a group that was left empty in a form for none at all."""
        if not isinstance(evaluation, Mapping):
            return evaluation
        return {name: value for name, value in evaluation.items() if value is not None} or None

    @model_validator(mode="after")
    def _pixels_are_asked_for(self) -> Self:
        if not self.from_pixels and (self.decoder is not None or self.method != "follow"):
            raise ValueError("method and decoder say how RAM is read from pixels: add from-pixels, or leave them out")
        if self.from_pixels and self.video.highlight is not None:
            raise ValueError("a highlight is made of a video from RAM: leave out highlight or from-pixels")
        return self

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return short(self.run)


class VerifyRunSettings(Settings):
    """Verify the videos of a run."""

    run: RunReference

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return short(self.run)


class CompareSettings(Settings):
    """Compare runs, grouped by approach."""

    runs: tuple[str, ...] = Field(
        min_length=1, description="Runs to compare: MLflow run ids, unambiguous prefixes, run names, or latest"
    )
    against: tuple[str, ...] = Field(
        default=(), description="Baseline of the comparison: one or more runs, or champion for the game's champion"
    )
    normalized: bool = Field(
        default=False,
        description="Compare human-normalized scores, which allows different games and environment settings",
    )
    name: Name | None = Field(default=None, description="Run name of the comparison in MLflow")
    experiment: Name | None = Field(default=None, description="MLflow experiment (default: that of the first run)")

    @model_validator(mode="after")
    def _fits_in_a_comparison(self) -> Self:
        _check_compared(len(self.runs) + len(self.against))
        return self

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return ", ".join(map(short, self.runs))


def _check_compared(n_runs: int) -> None:
    """Check that a comparison can have so many runs.

    Raises:
        ValueError: they are too many.
    """
    if n_runs > _MAX_COMPARED:
        raise ValueError(f"{n_runs} runs are too many for one comparison: at most {_MAX_COMPARED}")


class _ApproachesAndSeeds(_GameSettings):
    approaches: tuple[Approach, ...] = Field(
        default=("ppo-tuned", "ppo"),
        min_length=1,
        description="Approaches, named or user-defined, each trained with every seed",
    )
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, description="Training seeds")


class PipelineSettings(TrainingSettings, _ApproachesAndSeeds):
    """Train approaches with several seeds, record every checkpoint, and compare the runs."""

    evaluation: EvaluationSettings = Field(
        default=_EVALUATION, description="Evaluation settings for the checkpoints of all runs"
    )
    name: Name | None = Field(default=None, description="Run name of the comparison in MLflow")
    workers: Workers = Field(
        default=None, description="Worker processes per training run (default: one per CPU core, shared by its runs)"
    )

    @model_validator(mode="after")
    def _fits_in_a_comparison(self) -> Self:
        _check_compared(len(self.approaches) * len(self.seeds))
        return self

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return f"{self.env_id} {', '.join(map(approach_name, self.approaches))} seeds {', '.join(map(str, self.seeds))}"


class LearningBenchmarkSettings(Settings):
    """Benchmark the final performance of approaches over games and seeds."""

    env_ids: tuple[str, ...] = Field(
        default=("Pong", "Breakout", "Boxing", "Freeway", "SpaceInvaders", "Seaquest", "MsPacman", "Qbert"),
        validate_default=True,
        min_length=1,
        description="Environment ids, or names of games such as Pong",
    )
    approaches: tuple[str, ...] = Field(
        default=("ppo-tuned", "ppo", "random"), min_length=1, description="Named approaches"
    )
    seeds: tuple[Seed, ...] = Field(default=(1, 2, 3), min_length=1, description="Training seeds")
    steps: Steps = Field(default=2_000_000, description="Total environment steps per training run")
    checkpoint_every: CheckpointInterval = 250_000
    episodes: int = Field(
        default=FRESH_EPISODES,
        ge=1,
        le=10_000,
        description="Evaluation episodes for the last checkpoint of each training run",
    )
    evaluation_seed: Seed = Field(default=1, description="Seed of the evaluation episodes")

    @field_validator("env_ids")
    @classmethod
    def _expand_names(cls, env_ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name if "-v" in name else f"ALE/{name}-v5" for name in env_ids)

    @property
    def title(self) -> str:
        """Title of the flow run."""
        games, seeds = pluralize(len(self.env_ids), "game"), ", ".join(map(str, self.seeds))
        return f"{games}, {', '.join(self.approaches)}, seeds {seeds}"


class AtlasSettings(Settings):
    """Map each RAM byte of a game to its effect on the screen."""

    env_id: EnvId
    states: int = Field(default=64, ge=1, le=10_000, description="Sampled game states in which every byte is changed")
    steps: Annotated[int, Field(ge=1, le=10**7), PARSE_COUNT] = Field(
        default=12_000, description="Steps played to sample the game states from"
    )
    seed: Seed = Field(default=0, description="Seed of the episodes played and of the sampling")
    run: str | None = Field(
        default=None, description="Run whose last checkpoint plays the sampled episodes (default: random actions)"
    )
    name: Name | None = Field(default=None, description="Run name of the atlas in MLflow")
    experiment: Experiment = None

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return f"{self.env_id}, {pluralize(self.states, 'state')}"


class DecodeSettings(Settings):
    """Train a decoder that reads the RAM of a game from its pictures."""

    env_id: EnvId
    pairs: Annotated[int, Field(ge=2_000, le=10**6), PARSE_COUNT] = Field(
        default=60_000, description="Pairs of picture and RAM to play, for training, validation and test"
    )
    epochs: int = Field(default=15, ge=1, le=1_000, description="Passes of the network over the training episodes")
    runs: tuple[str, ...] = Field(
        default=(),
        max_length=20,
        description="Runs whose checkpoints play besides random actions (default: the game's newest training run)",
    )
    episodes: int = Field(
        default=10,
        ge=1,
        le=1_000,
        description="Evaluation episodes in which a checkpoint on RAM plays from true, followed and decoded RAM each",
    )
    followed_steps: Annotated[int, Field(ge=100, le=10**6), PARSE_COUNT] = Field(
        default=2_000, description="Steps in which a second emulator follows the pictures, to measure how exactly"
    )
    seed: Seed = Field(default=0, description="Seed of the episodes played, of their split and of the training")
    name: Name | None = Field(default=None, description="Run name of the decoder in MLflow")
    experiment: Experiment = None

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return f"{self.env_id}, {self.pairs:,} pairs"


class ReelSettings(Settings):
    """Record the learning progress of a run, or of two runs side by side."""

    runs: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="One run, or two runs of the same game to show side by side"
    )
    seconds: float = Field(
        default=20.0, ge=1, le=3600, description="Maximum length of each checkpoint's segment in seconds"
    )
    seed: Seed = Field(default=0, description="Seed of the episode that every checkpoint plays")
    deterministic: bool = Field(default=False, description="Play the most probable action instead of sampling")

    @property
    def title(self) -> str:
        """Title of the flow run."""
        return " and ".join(map(short, self.runs))


class SweepSettings(Settings):
    """Search for an approach's hyperparameters with Optuna."""

    env_id: EnvId
    approach: ApproachName = "ppo-tuned"
    parameters: tuple[str, ...] = Field(
        default=(), description="Hyperparameters to search (default: all that the approach has)"
    )
    trials: int = Field(
        default=20, ge=1, le=10_000, description="Total number of trials, including those of earlier runs of this sweep"
    )
    steps: Steps = Field(default=200_000, description="Total environment steps of a trial that is not pruned")
    seed: Seed = Field(default=0, description="Training seed of every trial, and seed of the search")
    workers: Workers = None
    name: Name | None = Field(default=None, description="Run name of the sweep in MLflow (default: approach and game)")
    experiment: Experiment = None

    @property
    def title(self) -> str:
        """Title of the flow run; a sweep with the title of an earlier one resumes it."""
        return self.name or f"sweep of {self.approach} on {self.env_id}"


class TrialSettings(Settings):
    """Train the next trial of a sweep."""

    sweep: SweepSettings = Field(description="Settings of the sweep")
    run: str = Field(description="MLflow run id of the sweep")

    @property
    def title(self) -> str:
        """Title of the sweep."""
        return self.sweep.title
