"""The memory benchmark measures whole training runs; what a run holds does not grow with its steps."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
from helpers.training_runs import small_approach

from flows.cli.app import run
from tasks.arcade.benchmarks.memory import (
    MemoryCost,
    MemorySettings,
    TrainingCost,
    measure_memory,
    proportional_memory,
)
from tasks.arcade.benchmarks.training_speed import BenchmarkError
from tasks.arcade.emulator.environment_ids import resolve

PONG = resolve("ALE/Pong-v5")


def test_every_number_of_environments_and_workers_is_measured() -> None:
    lines: list[str] = []
    settings = MemorySettings(game=PONG, approach=small_approach(), n_envs=(4, 2), workers=(2,), steps=300)
    measured = measure_memory(settings, lines.append)
    four, two = measured.costs
    assert (four.n_envs, four.workers, two.n_envs, two.workers) == (4, 2, 2, 2)
    assert [line.split(":")[0] for line in lines] == ["1 of 2", "2 of 2"]
    for cost in measured.costs:
        assert cost.learner_bytes > cost.worker_bytes / 2 > 2**20
        assert cost.checkpoint_bytes > 1000
        assert cost.steps_per_second > 0
    assert four.state_bytes > two.state_bytes, "a training state has the state of every environment"
    # Rollouts of 128 and 64 steps, with as many metrics each.
    assert two.metrics_per_million_steps == pytest.approx(2 * four.metrics_per_million_steps, rel=0.1)
    assert measured.bytes_per_environment is not None
    assert measured.bytes_per_worker is None


def cost(n_envs: int, workers: int, learner: int, in_workers: int) -> TrainingCost:
    return TrainingCost(
        n_envs=n_envs,
        workers=workers,
        learner_bytes=learner,
        worker_bytes=in_workers,
        grown_bytes=0,
        steps_per_second=1,
        metrics_per_million_steps=1,
        checkpoint_bytes=1,
        state_bytes=1,
    )


def test_a_further_environment_and_worker_cost_the_differences() -> None:
    settings = MemorySettings(game=PONG, approach=small_approach(), n_envs=(2, 12), workers=(1, 3))
    costs = (cost(2, 1, 100, 50), cost(12, 1, 200, 70), cost(2, 3, 100, 150))
    measured = MemoryCost(settings=settings, costs=costs)
    assert measured.bytes_per_environment == 12
    assert measured.bytes_per_worker == 50


def test_proportional_memory_counts_what_was_written() -> None:
    before = proportional_memory(os.getpid())
    # A mapping of its own: malloc may hand out pages that an earlier test has already written.
    with mmap.mmap(-1, 2**25) as written:
        written.write(bytes(len(written)))
        assert proportional_memory(os.getpid()) - before > len(written) / 2


def test_memory_that_is_not_reported_is_an_error_of_one_line() -> None:
    no_process = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    with pytest.raises(BenchmarkError, match=f"cannot read /proc/{no_process}/smaps_rollup.* on Linux only"):
        proportional_memory(no_process)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--n-envs", "16,0"], "--n-envs: Input should be greater than or equal to 1"),
        (["--workers", "1,x"], "--workers: Input should be a valid integer"),
        (["--approach", "random"], "random is not trained"),
        (["--env", "CartPole-v1"], "no Atari RAM"),
    ],
)
def test_invalid_options_are_errors_of_one_line(
    options: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["benchmark", "memory", *options]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert error.count("\n") == 1
