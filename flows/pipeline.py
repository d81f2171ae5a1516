"""Pipeline flow: train every approach with every seed, record the checkpoints, compare the runs."""

from __future__ import annotations

from itertools import product

from prefect import flow

from flows.compare import compare
from flows.record import record
from flows.runtime.child_run import ChildRun, ChildRunsError
from flows.runtime.child_runs import run_children
from flows.train import train
from tasks.arcade.inputs.fields import Approach
from tasks.arcade.inputs.forms import CompareSettings, PipelineSettings, RecordSettings, TrainingSettings, TrainSettings
from tasks.compare import ComparedRuns
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.pipeline import summarize_pipeline
from tasks.train import find_trained_run, missing_run


@flow(name="pipeline", flow_run_name="pipeline {settings.title}")
def pipeline(settings: PipelineSettings) -> ComparedRuns:
    """Train and record several runs at the same time, and compare them.

    Raises:
        ChildRunsError: some runs were not trained or recorded; the others were, and those that were trained are
            compared.
    """
    refuse_crash_loop()
    runs = [train_settings(settings, approach, seed) for approach, seed in product(settings.approaches, settings.seeds)]
    failed = run_children([_train_and_record(run) for run in runs], settings.workers)
    run_ids = [run_id for run in runs if (run_id := find_trained_run(run))]
    if not run_ids:
        raise ChildRunsError(failed, len(runs))
    compared = compare(CompareSettings(runs=tuple(run_ids), name=settings.name, experiment=settings.experiment))
    summarize_pipeline(settings.title, compared, tuple(f"{child.title}: {child.reason}" for child in failed))
    if failed:
        raise ChildRunsError(failed, len(runs), f"comparison of the others: run {compared.run_id}")
    return compared


def _train_and_record(run: TrainSettings) -> ChildRun:
    def recording() -> ChildRun:
        run_id = find_trained_run(run)
        if run_id is None:
            raise missing_run(run)
        return ChildRun(record, RecordSettings(run=run_id, evaluation=run.evaluation), run.run_name)

    return ChildRun(train, run, run.run_name, recording)


def train_settings(settings: PipelineSettings, approach: Approach, seed: int) -> TrainSettings:
    """Return the settings of one training run of the pipeline."""
    return TrainSettings(
        **{name: getattr(settings, name) for name in TrainingSettings.model_fields},
        approach=approach,
        seed=seed,
        # Under `ramreel up` another flow run records most checkpoints as soon as they are saved.
        evaluation=settings.evaluation,
    )
