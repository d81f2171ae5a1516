"""`ramreel benchmark`, and its subcommands `video`, `pipeline`, `learning`, `start`, `memory` and `live`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flows.cli.options import Given, Json, Quiet, Table, TrackingUri, options_of
from flows.cli.session import (
    InvalidInputError,
    announce,
    configure_prefect,
    flow_session,
    open_checked_store,
    open_terminal,
    validated,
    validating,
)
from tasks.arcade.inputs.commands import (
    LiveBenchmarkSettings,
    MemoryBenchmarkSettings,
    PipelineBenchmarkSettings,
    StartBenchmarkSettings,
    TrainingBenchmarkSettings,
    VideoBenchmarkSettings,
)
from tasks.arcade.inputs.forms import LearningBenchmarkSettings

if TYPE_CHECKING:
    from tasks.arcade.benchmarks.training_speed import TrainingSpeed, TrainingSpeedSettings


@options_of(TrainingBenchmarkSettings)
def benchmark(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure training speed: ramreel, Stable-Baselines3, EnvPool and the emulator alone, side by side."""
    settings = validated(TrainingBenchmarkSettings, given)
    from tasks.arcade.benchmarks.training_speed import measure_training

    resolved = _resolved(settings)
    with open_terminal(as_json, quiet) as terminal:
        speed = measure_training(resolved, terminal.log)
        terminal.table(
            [
                f"{settings.env_id}, {settings.approach}",
                "steps/s (median)",
                "lowest",
                "highest",
                f"per core ({speed.cores})",
                "frames/s",
            ],
            [
                [*row, f"{per_core:,.0f}", f"{frames:,.0f}"]
                for row, per_core, frames in zip(
                    _rows(speed.medians, speed.rounds), speed.per_core.values(), speed.frames.values(), strict=True
                )
            ],
            [
                f"{speed.vs_sb3:.2f} times the faster SB3 with the same hyperparameters, {speed.vs_sb3_defaults:.2f} "
                f"times SB3 with its defaults, {speed.of_ceiling:.2f} of the emulator alone",
                *_versus_envpool(speed),
                f"{speed.rollout_share:.0%} of ramreel's time is spent on rollouts, at {speed.rollout_speed:.2f} of "
                "the speed of the emulator alone; the rest on learning",
            ],
            {
                "vs_sb3": speed.vs_sb3,
                "vs_shipped": speed.vs_sb3_defaults,
                "of_ceiling": speed.of_ceiling,
                "vs_envpool": speed.vs_envpool,
                "of_envpool": speed.of_envpool,
                "playing": speed.rollout_share,
                "while_playing": speed.rollout_speed,
                "cores": speed.cores,
                "per_core": speed.per_core,
                "frames_per_second": speed.frames,
                "medians": speed.medians,
                "rounds": speed.rounds,
            },
        )


def _versus_envpool(speed: TrainingSpeed) -> list[str]:
    if speed.vs_envpool is None or speed.of_envpool is None:
        return []
    return [
        f"{speed.vs_envpool:.2f} times EnvPool under SB3 with the same hyperparameters, {speed.of_envpool:.2f} of "
        "EnvPool alone"
    ]


@options_of(VideoBenchmarkSettings)
def benchmark_video(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure video speed: ramreel, Gymnasium's RecordVideo, the emulator and the encoder alone, on the same frames."""
    import tempfile
    from pathlib import Path

    settings = validated(VideoBenchmarkSettings, given)
    from tasks.arcade.benchmarks.video_speed import NoMoviepyError, VideoSpeedSettings, measure_video
    from tasks.arcade.emulator.environment_ids import resolve, rom_path

    with validating():
        resolved = VideoSpeedSettings(game=resolve(settings.env_id), frames=settings.frames, rounds=settings.rounds)
        rom_path(resolved.game.rom)
    with open_terminal(as_json, quiet) as terminal, tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        try:
            speed = measure_video(resolved, Path(folder), terminal.log)
        except (NoMoviepyError, ValueError) as error:
            raise InvalidInputError(str(error)) from None
        versus, ceilings = speed.vs_record_video, speed.of_ceilings
        terminal.table(
            [f"{settings.env_id}, {settings.frames:,} frames", "frames/s (median)", "lowest", "highest"],
            _rows(speed.medians, speed.rounds),
            [f"{name}: {times:.2f} times RecordVideo" for name, times in versus.items()]
            + [
                f"{name}: {of_emulator:.2f} of the emulator with rendering alone, {of_encoder:.2f} of x264 alone"
                for name, (of_emulator, of_encoder) in ceilings.items()
            ],
            {"vs_record_video": versus, "of_ceilings": ceilings, "medians": speed.medians, "rounds": speed.rounds},
        )


@options_of(PipelineBenchmarkSettings)
def benchmark_pipeline(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure the speed of a pipeline: training runs side by side and one at a time, in a temporary store."""
    import os
    import tempfile

    settings = validated(PipelineBenchmarkSettings, given)
    announce(f"benchmark pipelines of {settings.env_id}", quiet=quiet)
    from tasks.arcade.inputs.forms import TrainSettings
    from tasks.arcade.inputs.resolve import run_settings

    with validating():
        run_settings(TrainSettings(env_id=settings.env_id, approach=settings.approach, steps=settings.steps))
    with tempfile.TemporaryDirectory(prefix="ramreel-", ignore_cleanup_errors=True) as home:
        for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):
            os.environ.pop(name, None)
        os.environ["RAMREEL_HOME"] = home
        open_checked_store(None)
        configure_prefect()
        with flow_session("flows.pipeline", as_json, quiet) as terminal:
            from flows.pipeline_benchmark import measure_pipeline

            speed = measure_pipeline(settings, terminal.log)
            terminal.table(
                [
                    f"{settings.env_id}, {settings.approach}, {settings.n_runs} runs",
                    "steps/s (median)",
                    "lowest",
                    "highest",
                ],
                _rows(speed.medians, speed.rounds),
                [f"{speed.at_once} at the same time: {speed.speedup:.2f} times the steps/s of one at a time"],
                {
                    "speedup": speed.speedup,
                    "at_once": speed.at_once,
                    "medians": speed.medians,
                    "rounds": speed.rounds,
                },
            )


@options_of(StartBenchmarkSettings)
def benchmark_start(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure the start of commands: seconds to the first line, and CPU seconds, in a temporary store."""
    import tempfile
    from pathlib import Path

    settings = validated(StartBenchmarkSettings, given)
    from flows.start_benchmark import measure_start
    from tasks.arcade.emulator.environment_ids import resolve, rom_path

    with validating():
        rom_path(resolve(settings.env_id).rom)
    with (
        open_terminal(as_json, quiet) as terminal,
        tempfile.TemporaryDirectory(prefix="ramreel-", ignore_cleanup_errors=True) as home,
    ):
        costs = measure_start(settings, Path(home), terminal.log)
        terminal.table(
            [f"{settings.env_id}, {settings.steps:,} steps", "first line (s)", "seconds", "CPU seconds"],
            [
                [name, f"{cost.first_line:.1f}", f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}"]
                for name, cost in costs.items()
            ],
            [],
            {"commands": {name: cost.model_dump() for name, cost in costs.items()}},
        )


@options_of(MemoryBenchmarkSettings)
def benchmark_memory(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure what a training run costs by its environments and worker processes: memory, disk, metrics and speed."""
    settings = validated(MemoryBenchmarkSettings, given)
    from tasks.arcade.benchmarks.memory import MemorySettings, measure_memory
    from tasks.arcade.emulator.environment_ids import resolve, rom_path
    from tasks.arcade.settings.approaches import approach

    with validating():
        resolved = MemorySettings(
            game=resolve(settings.env_id),
            approach=approach(settings.approach),
            n_envs=settings.n_envs,
            workers=settings.workers,
            steps=settings.steps,
        )
        rom_path(resolved.game.rom)
    with open_terminal(as_json, quiet) as terminal:
        measured = measure_memory(resolved, terminal.log)
        terminal.table(
            [
                f"{settings.env_id}, {settings.approach}: n_envs",
                "workers",
                "steps/s",
                "memory (MiB)",
                "learner",
                "workers",
                "growth",
                "metrics per 1M steps",
                "checkpoint (KiB)",
                "training state (KiB)",
            ],
            [
                [
                    str(cost.n_envs),
                    str(cost.workers),
                    f"{cost.steps_per_second:,.0f}",
                    *(
                        f"{size / 2**20:,.1f}"
                        for size in (cost.total_bytes, cost.learner_bytes, cost.worker_bytes, cost.grown_bytes)
                    ),
                    f"{cost.metrics_per_million_steps:,.0f}",
                    f"{cost.checkpoint_bytes / 2**10:,.0f}",
                    f"{cost.state_bytes / 2**10:,.0f}",
                ]
                for cost in measured.costs
            ],
            [
                f"a further {name} needs {size / 2**20:,.2f} MiB"
                for name, size in (
                    ("environment", measured.bytes_per_environment),
                    ("worker process", measured.bytes_per_worker),
                )
                if size is not None
            ],
            {
                "bytes_per_environment": measured.bytes_per_environment,
                "bytes_per_worker": measured.bytes_per_worker,
                "runs": [cost.model_dump() for cost in measured.costs],
            },
        )


@options_of(LiveBenchmarkSettings)
def benchmark_live(given: Given, *, as_json: Json = False, quiet: Quiet = False) -> None:
    """Measure the cost of a live view: speed of a training run alone, and beside a live view that is being watched."""
    import tempfile
    from pathlib import Path

    settings = validated(LiveBenchmarkSettings, given)
    resolved = _resolved(settings)
    from flows.live_benchmark import measure_live

    with open_terminal(as_json, quiet) as terminal, tempfile.TemporaryDirectory(prefix="ramreel-") as home:
        cost = measure_live(resolved, Path(home), terminal.log)
        terminal.table(
            [f"{settings.env_id}, {settings.approach}", "steps/s (median)", "lowest", "highest"],
            _rows(cost.medians, cost.rounds),
            [
                f"a training run beside a live view has {cost.of_alone:.3f} of its speed alone; the viewer received "
                f"{min(cost.frames_per_second):.1f} to {max(cost.frames_per_second):.1f} frames/s"
            ],
            {
                "of_alone": cost.of_alone,
                "medians": cost.medians,
                "rounds": cost.rounds,
                "frames_per_second": cost.frames_per_second,
            },
        )


def _resolved(settings: TrainingBenchmarkSettings) -> TrainingSpeedSettings:
    from tasks.arcade.benchmarks.training_speed import TrainingSpeedSettings
    from tasks.arcade.emulator.environment_ids import resolve, rom_path
    from tasks.arcade.rollouts.worker_pool import cores
    from tasks.arcade.settings.approaches import approach

    with validating():
        resolved = TrainingSpeedSettings(
            game=resolve(settings.env_id),
            approach=approach(settings.approach),
            workers=settings.workers or cores(),
            rounds=settings.rounds,
            steps=settings.steps,
        )
        rom_path(resolved.game.rom)
    return resolved


@options_of(LearningBenchmarkSettings)
def benchmark_learning(
    given: Given,
    *,
    tracking_uri: TrackingUri = None,
    table: Table = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Measure final performance: approaches over games and seeds, with published scores; an interrupted one resumes."""
    from tasks.arcade.inputs.forms import TrainSettings
    from tasks.arcade.inputs.resolve import run_settings
    from tasks.arcade.report.learning_files import read_scores, write_scores
    from tasks.arcade.report.learning_table import learning_summary, learning_table

    settings = validated(LearningBenchmarkSettings, given)
    announce(f"benchmark {settings.title}", quiet=quiet)
    with validating():
        if table is not None:
            read_scores(table)
        for env_id in settings.env_ids:
            for approach in settings.approaches:
                run_settings(TrainSettings(env_id=env_id, approach=approach))
    open_checked_store(tracking_uri)
    configure_prefect()
    with flow_session("flows.learning_benchmark", as_json, quiet) as terminal:
        from flows.learning_benchmark import LearningBenchmarkError
        from flows.learning_benchmark import learning as flow

        try:
            scores, error = flow(settings), None
        except LearningBenchmarkError as raised:
            scores, error = raised.scores, raised
        values = {"runs": [score.model_dump(mode="json") for score in scores]}
        if table is not None and scores:
            terminal.log(f"results: {table}, {write_scores(table, scores)}")
        if scores and not (error and as_json):
            terminal.table(*learning_table(scores), learning_summary(scores), values)
        if error:
            terminal.error(str(error), values)
    return 1 if error else 0


def _rows(medians: Mapping[str, float], rounds: Mapping[str, Sequence[float]]) -> list[list[str]]:
    return [
        [name, f"{medians[name]:,.0f}", f"{min(values):,.0f}", f"{max(values):,.0f}"] for name, values in rounds.items()
    ]
