"""Pipeline flow: train every approach with every seed, record the checkpoints, compare the runs."""

from __future__ import annotations

from itertools import product

from prefect import flow

from flows.compare import compare
from flows.record import record
from flows.train import train
from tasks.arcade.inputs.fields import Approach
from tasks.arcade.inputs.forms import (
    CompareSettings,
    PipelineSettings,
    RecordSettings,
    TrainingSettings,
    TrainSettings,
)
from tasks.compare import ComparedRuns
from tasks.execution.crash_loop import refuse_crash_loop


@flow(name="pipeline", flow_run_name="pipeline {settings.title}")
def pipeline(settings: PipelineSettings) -> ComparedRuns:
    """Train, record and compare, one after the other: training and recording each use all cores."""
    refuse_crash_loop()
    run_ids = []
    for approach, seed in product(settings.approaches, settings.seeds):
        trained = train(train_settings(settings, approach, seed))
        record(RecordSettings(run=trained.run_id, evaluation=settings.evaluation))
        run_ids.append(trained.run_id)
    return compare(CompareSettings(runs=tuple(run_ids), name=settings.name, experiment=settings.experiment))


def train_settings(settings: PipelineSettings, approach: Approach, seed: int) -> TrainSettings:
    """Return the settings of one training run of the pipeline."""
    return TrainSettings(
        **{name: getattr(settings, name) for name in TrainingSettings.model_fields},
        approach=approach,
        seed=seed,
        # Under `ramreel up` another flow run records most checkpoints as soon as they are saved.
        evaluation=settings.evaluation,
    )
