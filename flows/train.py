"""Train and resume flows: a training run in MLflow, with checkpoints at regular steps and at the end."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow

from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import RunSettings
from tasks.execution import events
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import named_after_runs
from tasks.execution.resolve_run import resolve_run
from tasks.execution.run_status import active_run
from tasks.runs.lookup import evaluation_tag
from tasks.store import StoredCheckpoint
from tasks.train import SavedCheckpoint, create_checkpoints_table, describe_run, learn, reopen_run, start_run


class TrainedRun(Settings):
    """A training run that finished."""

    run_id: str
    run_name: str
    steps: int
    mean_return: float | None
    steps_per_second: float
    pipeline_share: float
    checkpoints: tuple[SavedCheckpoint, ...]


@flow(name="train", flow_run_name="train {settings.title}")
def train(settings: TrainSettings) -> TrainedRun:
    """Train an approach on a game, with checkpoints in MLflow.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        UnknownApproachError: the approach is unknown.
        RomError: the ROM of the game cannot be read.
        StoreError: the store is unavailable.
        WorkerError: a worker process died, does not respond, or raised.
        DivergedError: the loss or the policy became non-finite.
    """
    refuse_crash_loop()
    run = run_settings(settings)
    run_id = start_run(run, settings.run_name, settings.experiment, evaluation_tag(settings.evaluation))
    return train_run(run_id, settings.run_name, run, settings.workers)


@flow(name="resume", flow_run_name=named_after_runs("resume"))
def resume(settings: ResumeSettings) -> TrainedRun:
    """Resume a training run from its last valid checkpoint, bit-for-bit.

    A run that was stopped before its first checkpoint starts from scratch.

    Raises:
        StoreError: no run matches, or another process is training it.
        WorkerError: a worker process died, does not respond, or raised.
        DivergedError: the loss or the policy became non-finite.
    """
    refuse_crash_loop()
    run_id = resolve_run(settings.run)
    run = reopen_run(run_id, settings.steps)
    return train_run(run_id, run.name, run.settings, settings.workers, trial=run.trial)


def train_run(
    run_id: str,
    name: str,
    run: RunSettings,
    workers: int | None,
    start_from: StoredCheckpoint | None = None,
    *,
    trial: bool = False,
    should_stop: Callable[[Progress], bool] | None = None,
) -> TrainedRun:
    """Train an MLflow run to its last step, and emit that it finished.

    Args:
        run_id: the run.
        name: its name.
        run: its settings.
        workers: number of worker processes (default: one per CPU core).
        start_from: checkpoint of another run to start from (default: from scratch).
        trial: the run is a trial of a sweep. It emits no events, so it is not recorded, compared or crowned.
        should_stop: called after every rollout; training ends early if it returns True.
    """
    with active_run(run_id, f"`ramreel train --resume {run_id[:8]}` resumes it"):
        result = learn(run_id, name, run, workers or cores(), start_from, trial=trial, should_stop=should_stop)
    describe_run(run_id)
    create_checkpoints_table(run_id, name, result)
    if not trial:
        events.training_finished(run_id, name, run, result.steps, result.mean_return)
    return TrainedRun(run_id=run_id, run_name=name, **dict(result))
