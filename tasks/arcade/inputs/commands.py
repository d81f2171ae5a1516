"""Input models of the commands that run without a flow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from tasks.arcade.inputs.fields import (
    PARSE_COUNT,
    ApproachName,
    EnvId,
    Experiment,
    Name,
    RunReference,
    Seed,
    Steps,
    Workers,
)
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import ApproachId

Port = Annotated[int, Field(ge=1, le=65_535)]

Rounds = Annotated[int, Field(ge=1, description="Measurement rounds; their medians are reported")]
ROUNDS = 5

ContenderSteps = Annotated[int, Field(ge=1, description="Environment steps of each contender per round"), PARSE_COUNT]
CONTENDER_STEPS = 32_768

ContenderFrames = Annotated[
    int, Field(ge=100, description="Frames of the episode that each contender records per round"), PARSE_COUNT
]
CONTENDER_FRAMES = 5_000

EnvironmentCounts = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1024)], ...],
    Field(min_length=1, description="Numbers of parallel environments, measured with the first number of workers"),
]
WorkerCounts = Annotated[
    tuple[Annotated[int, Field(ge=1, le=256)], ...],
    Field(min_length=1, description="Numbers of worker processes, measured with the first number of environments"),
]


class _CheckpointReference(Settings):
    run: RunReference
    checkpoint: Annotated[int, Field(ge=0), PARSE_COUNT] | None = Field(
        default=None, description="Environment step of the checkpoint (default: the last checkpoint)"
    )


class WatchSettings(_CheckpointReference):
    """Watch a checkpoint play."""

    seed: Seed = Field(default=0, description="Seed of the episode")
    deterministic: bool = Field(default=False, description="Play the most probable action instead of sampling")
    browser: bool = Field(default=True, description="Open the live view in a browser, if there is one")


class ExportSettings(_CheckpointReference):
    """Export a checkpoint to Stable-Baselines3."""

    to: Path | None = Field(default=None, description="Path of the zip file to write")
    hub: Path | None = Field(
        default=None,
        description="Folder to write for the Hugging Face Hub: the zip, a model card with the results, and replay.mp4",
    )
    push: str | None = Field(
        default=None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="Repository on the Hugging Face Hub to upload the folder to, as user/name; needs a token",
    )

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.to is None) == (self.hub is None):
            raise ValueError("name either a zip file with --to, or a folder with --hub")
        if self.push is not None and self.hub is None:
            raise ValueError("--push uploads a folder: name it with --hub")
        return self


class ImportSettings(Settings):
    """Import training runs of other libraries."""

    paths: tuple[Path, ...] = Field(
        min_length=1,
        description="TensorBoard logs, monitor.csv, evaluations.npz, a folder of these, or a Stable-Baselines3 zip; "
        "each path becomes a run",
    )
    env_id: EnvId
    frame_skip: int | None = Field(
        default=None,
        ge=1,
        le=60,
        description="Frames per step of the agent, including those that a wrapper skipped (default: as the files say, "
        "otherwise that of the environment)",
    )
    approach: ApproachId = Field(default="imported", max_length=100, description="Name of the approach in comparisons")
    seed: Seed = Field(default=0, description="Seed of the first run; the seeds of further runs count up from it")
    trust: bool = Field(
        default=False, description="Unpickle the schedules in a zip file, which can run code that it contains"
    )
    name: Name | None = Field(default=None, description="Run name in MLflow (default: approach and seed)")
    experiment: Experiment = None


class RenderSettings(Settings):
    """Render a trace to a video."""

    trace: Path = Field(description="Trace file")
    to: Path | None = Field(
        default=None, description="Path of the video (default: the trace's name, in the working directory)"
    )


class VerifySettings(Settings):
    """Verify the videos of a run, a single video, or a trace."""

    target: str = Field(description="Run whose videos are verified, or the file of a video or a trace")


class FollowSettings(Settings):
    """Follow a video."""

    path: Path = Field(description="Video of one episode from its reset: the game's screen alone; MP4, MKV, AVI or GIF")
    env_id: EnvId
    frame_skip: int | None = Field(
        default=None,
        ge=1,
        le=60,
        description="Frames per step of the agent, including those that a wrapper skipped (default: that of the "
        "environment)",
    )
    full_action_space: bool = Field(
        default=False, description="Consider all 18 actions instead of the game's minimal action set"
    )
    max_lost: int = Field(
        default=10, ge=1, le=1_000, description="Pictures in a row that no state may explain before following stops"
    )
    to: Path | None = Field(
        default=None,
        description="Trace file to write, with the RAM as .npz beside it (default: the video's name and .trace.json, "
        "in the working directory)",
    )


class BackupSettings(Settings):
    """Back up the store."""

    file: Path = Field(description="File to write, such as backup.tar or backup.tar.gz; an existing one is replaced")


class RestoreSettings(Settings):
    """Restore a backup."""

    file: Path = Field(description="File that `ramreel backup` wrote")


class GamesSettings(Settings):
    """List the environment ids."""

    pattern: str = Field(default="", description="List only the ids that contain this text, in upper or lower case")


class UpSettings(Settings):
    """Start the services."""

    prefect_port: Port = Field(default=4200, description="Port of the Prefect server and UI")
    mlflow_port: Port = Field(default=5000, description="Port of the MLflow server and UI")
    gallery_port: Port = Field(default=4300, description="Port of the gallery")
    browser: bool = Field(default=True, description="Open the gallery in a browser, if there is one")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address of this machine that all servers listen on; beyond loopback they need passwords",
    )
    insecure: bool = Field(default=False, description="Listen beyond loopback without passwords")
    database: str | None = Field(
        default=None,
        description="URI of a PostgreSQL database, without a password (default: RAMREEL_DATABASE, otherwise SQLite)",
    )
    redis: str | None = Field(
        default=None, description="URL of a Redis server, without a password (default: RAMREEL_REDIS)"
    )
    artifacts: str | None = Field(
        default=None,
        description="Place of the artifacts, such as s3://bucket/path (default: RAMREEL_ARTIFACTS, otherwise mlruns)",
    )


class OpenSettings(Settings):
    """Open a page in the browser."""

    target: str = Field(
        default="gallery",
        min_length=1,
        description="Run, game (such as Pong), `report` for the newest comparison, `gallery`, `prefect` or `mlflow`",
    )


class WorkerSettings(Settings):
    """Execute flow runs of a server."""

    server: str | None = Field(
        default=None,
        description="Address of the machine of `ramreel up`, with the port of Prefect unless it is 4200 "
        "(default: PREFECT_API_URL)",
    )
    pool: str = Field(default="ramreel", min_length=1, description="Work pool whose flow runs this machine executes")
    limit: int = Field(default=1, ge=1, le=256, description="Flow runs of each work queue that are executed at a time")


class TrainingBenchmarkSettings(Settings):
    """Benchmark the speed of training."""

    env_id: EnvId = "ALE/Pong-v5"
    approach: ApproachName = Field(
        default="ppo-tuned", description="Approach whose network and hyperparameters every contender trains"
    )
    rounds: Rounds = ROUNDS
    steps: ContenderSteps = CONTENDER_STEPS
    workers: Workers = None


class PipelineBenchmarkSettings(Settings):
    """Benchmark the speed of a pipeline."""

    env_id: EnvId = "ALE/Pong-v5"
    approach: ApproachName = Field(default="ppo-tuned", description="Approach that every training run trains")
    n_runs: int = Field(default=4, ge=1, le=240, description="Number of training runs per pipeline")
    steps: Steps = Field(default=65_536, description="Environment steps per training run")
    rounds: Rounds = 3


class StartBenchmarkSettings(Settings):
    """Benchmark the start of commands."""

    env_id: EnvId = "ALE/Pong-v5"
    steps: Steps = Field(default=4_096, description="Environment steps of the training run of each measurement")
    rounds: Rounds = 3


class MemoryBenchmarkSettings(Settings):
    """Benchmark the memory and cost of training runs."""

    env_id: EnvId = "ALE/Pong-v5"
    approach: ApproachName = Field(default="ppo-tuned", description="Approach that every training run trains")
    n_envs: EnvironmentCounts = (16, 64, 256)
    workers: WorkerCounts = (1, 2, 4, 8)
    steps: ContenderSteps = Field(
        default=CONTENDER_STEPS, description="Environment steps of each training run, at least three rollouts"
    )


class LiveBenchmarkSettings(TrainingBenchmarkSettings):
    """Benchmark the cost of a live view."""

    approach: ApproachName = Field(
        default="ppo-tuned", description="Approach that is trained, and that plays in the live view"
    )


class VideoBenchmarkSettings(Settings):
    """Benchmark the speed of video recording."""

    env_id: EnvId = "ALE/Boxing-v5"
    rounds: Rounds = ROUNDS
    frames: ContenderFrames = CONTENDER_FRAMES
