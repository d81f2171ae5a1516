"""Speed of a pipeline: its training runs side by side, and one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from flows.pipeline import pipeline
from flows.runtime.machine_share import machine_share
from tasks.arcade.inputs.commands import PipelineBenchmarkSettings
from tasks.arcade.inputs.forms import PipelineSettings
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings

SIDE_BY_SIDE, ONE_AT_A_TIME = "side by side", "one at a time"


class PipelineSpeed(Settings):
    """Environment steps per second of whole pipelines, recordings and the comparison included.

    Attributes:
        at_once: number of runs that were trained at the same time.
        rounds: measurements by contender.
    """

    at_once: int
    rounds: dict[str, tuple[float, ...]]

    @property
    def medians(self) -> dict[str, float]:
        """Median of the rounds by contender."""
        return {name: median(values) for name, values in self.rounds.items()}

    @property
    def speedup(self) -> float:
        """Ratio of the medians."""
        return self.medians[SIDE_BY_SIDE] / self.medians[ONE_AT_A_TIME]


def measure_pipeline(settings: PipelineBenchmarkSettings, log: Callable[[str], None]) -> PipelineSpeed:
    """Run both pipelines in turn, `rounds` times; each second round starts with the other one."""
    contenders = {
        SIDE_BY_SIDE: _pipeline_settings(settings, workers=None),
        # Worker processes on all cores leave none for another run.
        ONE_AT_A_TIME: _pipeline_settings(settings, workers=cores()),
    }
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(settings.rounds):
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            start = time.monotonic()
            pipeline(contenders[name])
            speed = settings.n_runs * settings.steps / (time.monotonic() - start)
            rounds[name].append(speed)
            log(f"round {number + 1} of {settings.rounds}, {name}: {speed:,.0f} steps/s")
    return PipelineSpeed(
        at_once=machine_share(settings.n_runs, None).at_once,
        rounds={name: tuple(values) for name, values in rounds.items()},
    )


def _pipeline_settings(settings: PipelineBenchmarkSettings, workers: int | None) -> PipelineSettings:
    return PipelineSettings(
        env_id=settings.env_id,
        approaches=(settings.approach,),
        seeds=tuple(range(settings.n_runs)),
        steps=settings.steps,
        checkpoint_every=max(1, settings.steps // 2),
        workers=workers,
        evaluation=EvaluationSettings(episodes=2),
    )
