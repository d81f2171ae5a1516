"""Benchmark of what a training run costs by its environments and worker processes: memory, disk, metrics, speed.

Every training run has a process of its own, so that none inherits the memory of another.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationInfo, field_validator

from tasks.arcade.benchmarks.training_speed import BenchmarkError
from tasks.arcade.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tasks.arcade.checkpoints.training_state import TrainingState, write_state
from tasks.arcade.inputs.commands import CONTENDER_STEPS, ContenderSteps, EnvironmentCounts, WorkerCounts
from tasks.arcade.learner import train
from tasks.arcade.progress import Progress
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings

_MIN_ROLLOUTS = 3
"""The first one is not measured."""


class MemorySettings(Settings):
    """Settings of the benchmark.

    Attributes:
        game: Emulator settings.
        approach: Approach to train.
        n_envs: Numbers of environments, each with the first number of workers.
        workers: Numbers of worker processes, each with the first number of environments.
        steps: Environment steps of each training run, which has at least three rollouts.
    """

    game: GameSettings
    approach: ApproachSettings
    n_envs: EnvironmentCounts
    workers: WorkerCounts
    steps: ContenderSteps = CONTENDER_STEPS

    @field_validator("approach")
    @classmethod
    def _check_approach(cls, value: ApproachSettings) -> ApproachSettings:
        if not value.algorithm.learns:
            raise ValueError(f"{value.name} is not trained: choose an approach that is, such as ppo-tuned")
        return value

    @field_validator("n_envs")
    @classmethod
    def _check_rollouts(cls, value: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        # None if the approach itself is invalid.
        if approach := info.data.get("approach"):
            for n_envs in value:
                approach.algorithm.check_rollout_size(n_envs * approach.algorithm.n_steps)
        return value

    def run(self, n_envs: int) -> RunSettings:
        """Return the settings of the training run with some environments."""
        approach = self.approach.model_copy(update={"n_envs": n_envs})
        steps = max(self.steps, _MIN_ROLLOUTS * n_envs * approach.algorithm.n_steps)
        return RunSettings(game=self.game, approach=approach, seed=0, steps=steps, checkpoint_every=steps)


class TrainingCost(Settings):
    """What a training run costs; memory is the proportional set size, which counts a shared page once.

    Attributes:
        n_envs: Number of environments.
        workers: Number of worker processes.
        learner_bytes: Memory of the process that learns, after the last rollout.
        worker_bytes: Memory of its worker processes together.
        grown_bytes: Memory of all, after the last rollout compared with the first.
        steps_per_second: Environment steps per second after the first rollout.
        metrics_per_million_steps: Values logged, each a row in MLflow.
        checkpoint_bytes: Size of a checkpoint's files.
        state_bytes: Size of the files of its training state.
    """

    n_envs: int
    workers: int
    learner_bytes: int
    worker_bytes: int
    grown_bytes: int
    steps_per_second: float
    metrics_per_million_steps: float
    checkpoint_bytes: int
    state_bytes: int

    @property
    def total_bytes(self) -> int:
        """Memory of all processes."""
        return self.learner_bytes + self.worker_bytes


class MemoryCost(Settings):
    """Costs of all training runs."""

    settings: MemorySettings
    costs: tuple[TrainingCost, ...]

    @property
    def bytes_per_environment(self) -> float | None:
        """Memory that a further environment needs; None if all runs have the same number."""
        return self._slope({one.n_envs: one for one in self.costs if one.workers == self.settings.workers[0]})

    @property
    def bytes_per_worker(self) -> float | None:
        """Memory that a further worker process needs; None if all runs have the same number."""
        return self._slope({one.workers: one for one in self.costs if one.n_envs == self.settings.n_envs[0]})

    @staticmethod
    def _slope(by_number: Mapping[int, TrainingCost]) -> float | None:
        low, high = min(by_number), max(by_number)
        return None if low == high else (by_number[high].total_bytes - by_number[low].total_bytes) / (high - low)


def measure_memory(settings: MemorySettings, log: Callable[[str], None]) -> MemoryCost:
    """Measure one training run after the other.

    Args:
        settings: Settings of the benchmark.
        log: Called with a line for each training run.

    Raises:
        BenchmarkError: The process of a training run died, or the operating system does not report the memory of a
            process.
    """
    # Fail before the first training run.
    proportional_memory(os.getpid())
    n_envs, workers = settings.n_envs[0], settings.workers[0]
    wanted = dict.fromkeys([*((n, workers) for n in settings.n_envs), *((n_envs, n) for n in settings.workers)])
    costs = []
    for number, (n_envs, workers) in enumerate(wanted, 1):
        with ProcessPoolExecutor(1, mp.get_context("spawn")) as executor:
            try:
                cost = executor.submit(_measure, settings.run(n_envs), workers).result()
            except BrokenProcessPool:
                raise BenchmarkError(
                    f"the training run with n_envs {n_envs} and workers {workers} was killed: run the benchmark "
                    "again, with fewer of both if memory is short"
                ) from None
        costs.append(cost)
        log(f"{number} of {len(wanted)}: n_envs {n_envs}, workers {workers}: {cost.total_bytes / 2**20:,.0f} MiB")
    return MemoryCost(settings=settings, costs=tuple(costs))


def _measure(run: RunSettings, workers: int) -> TrainingCost:
    meter = _Meter()
    train(run, workers, meter)
    first, last = meter.samples[0], meter.samples[-1]
    steps = last.step - first.step
    return TrainingCost(
        n_envs=run.approach.n_envs,
        workers=workers,
        learner_bytes=last.learner_bytes,
        worker_bytes=last.worker_bytes,
        grown_bytes=last.learner_bytes + last.worker_bytes - first.learner_bytes - first.worker_bytes,
        steps_per_second=steps / (last.seconds - first.seconds),
        metrics_per_million_steps=(last.metrics - first.metrics) * 1e6 / steps,
        checkpoint_bytes=meter.checkpoint_bytes,
        state_bytes=meter.state_bytes,
    )


@dataclass(frozen=True)
class _Sample:
    """Costs so far, after a rollout was trained on."""

    step: int
    seconds: float
    metrics: int
    learner_bytes: int
    worker_bytes: int


class _Meter:
    """Training callback that measures."""

    def __init__(self) -> None:
        self.samples: list[_Sample] = []
        self.checkpoint_bytes = self.state_bytes = 0
        self._metrics = 0

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        self._metrics += len(values)

    def on_checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
            playing, training = Path(name) / "playing", Path(name) / "training"
            write_state(state, write_checkpoint(checkpoint, playing), training)
            self.checkpoint_bytes, self.state_bytes = _size(playing), _size(training)

    def on_progress(self, progress: Progress) -> None:
        own, *others = [proportional_memory(pid) for pid in (os.getpid(), *_children())]
        self.samples.append(_Sample(progress.step, time.perf_counter(), self._metrics, own, sum(others)))

    def interrupt_requested(self) -> bool:
        return False

    def on_interrupt(self) -> None:
        pass

    def should_stop(self, progress: Progress) -> bool:
        return False


def proportional_memory(pid: int) -> int:
    """Return the proportional set size of a process in bytes: its pages, shared ones divided by their sharers.

    Raises:
        BenchmarkError: The operating system does not report it: only Linux does.
    """
    file = Path(f"/proc/{pid}/smaps_rollup")
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise BenchmarkError(f"cannot read {file}: {error.strerror}; memory is measured on Linux only") from None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _children() -> list[int]:
    return [int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
