"""All of it: train every approach with every seed, video their checkpoints, compare them."""

from __future__ import annotations

from itertools import product

from prefect import flow

from flows.compare import compare
from flows.record import record
from flows.train import train
from tasks.arcade.inputs.fields import Approach
from tasks.arcade.inputs.forms import CompareSettings, PipelineSettings, RecordSettings, TrainSettings
from tasks.compare import ComparedRuns
from tasks.execution.crash_loop import refuse_crash_loop


@flow(name="pipeline", flow_run_name="pipeline {settings.title}")
def pipeline(settings: PipelineSettings) -> ComparedRuns:
    """Train, video and compare, one after the other; each training and each video uses all cores."""
    refuse_crash_loop()
    run_ids = []
    for approach, seed in product(settings.approaches, settings.seeds):
        trained = train(training(settings, approach, seed))
        record(RecordSettings(run=trained.run_id, evaluation=settings.evaluation))
        run_ids.append(trained.run_id)
    return compare(CompareSettings(runs=tuple(run_ids), name=settings.name, experiment=settings.experiment))


def training(settings: PipelineSettings, approach: Approach, seed: int) -> TrainSettings:
    """One of the pipeline's trainings."""
    return TrainSettings(
        env_id=settings.env_id,
        approach=approach,
        seed=seed,
        steps=settings.steps,
        checkpoint_every=settings.checkpoint_every,
        n_envs=settings.n_envs,
        workers=settings.workers,
        experiment=settings.experiment,
        # Under `ramreel up` most checkpoints are recorded as soon as they are saved, by another flow run.
        evaluation=settings.evaluation,
    )
