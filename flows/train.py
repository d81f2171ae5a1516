"""Train an approach on a game's RAM: a run in MLflow, with a checkpoint every so often and one at the end."""

from __future__ import annotations

from prefect import flow

from flows.run_status import ending
from tasks.arcade.inputs.forms import ResumeSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import RunSettings
from tasks.execution import events
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import titled
from tasks.record import find_run
from tasks.runs.lookup import evaluation_tag
from tasks.store import StoredCheckpoint
from tasks.train import SavedCheckpoint, learn, reopen_run, show_checkpoints, start_run


class TrainedRun(Settings):
    """A training that is done."""

    run_id: str
    run_name: str
    steps: int
    mean_return: float | None
    steps_per_second: float
    pipeline_share: float
    checkpoints: tuple[SavedCheckpoint, ...]


@flow(name="train", flow_run_name="train {settings.title}")
def train(settings: TrainSettings) -> TrainedRun:
    """Train to the end, checkpointing to MLflow.

    Raises:
        UnknownGameError: no such environment id, or one without RAM.
        UnknownApproachError: no such approach.
        StoreError: the store cannot be used.
        WorkerError: a worker process died, hangs or raised.
        DivergedError: its numbers are none any more.
    """
    refuse_crash_loop()
    run = run_settings(settings)
    name = settings.name or f"{run.approach.name} seed {settings.seed}"
    run_id = start_run(run, name, settings.experiment, evaluation_tag(settings.evaluation))
    return trained(run_id, name, run, settings.workers)


@flow(name="resume", flow_run_name=titled("resume"))
def resume(settings: ResumeSettings) -> TrainedRun:
    """Go on with a training from its last good checkpoint; it ends as one that never stopped, to the bit.

    One that was stopped before its first checkpoint begins again.

    Raises:
        StoreError: there is no such run, or another process is training it.
        WorkerError: a worker process died, hangs or raised.
        DivergedError: its numbers are none any more.
    """
    run_id = find_run(settings.run)
    name, run = reopen_run(run_id, settings.steps)
    return trained(run_id, name, run, settings.workers)


def trained(
    run_id: str, name: str, run: RunSettings, workers: int | None, begin: StoredCheckpoint | None = None
) -> TrainedRun:
    """Train a run that is in MLflow to its end, and say that it is there.

    Args:
        run_id: the run.
        name: its name.
        run: its settings.
        workers: processes; none: one a core.
        begin: another run's checkpoint that it begins with; none: from scratch.
    """
    with ending(run_id):
        learned = learn(run_id, name, run, workers or cores(), begin)
    show_checkpoints(run_id, name, learned)
    events.training_finished(run_id, name, run, learned.steps, learned.mean_return)
    return TrainedRun(run_id=run_id, run_name=name, **dict(learned))
