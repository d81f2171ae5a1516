"""Tasks of the train flow: the MLflow run, training, checkpoints, artifacts in Prefect."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from tasks.arcade import learner
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import CheckpointError, unlearned_checkpoint
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.learner import ResumePoint
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.worker_pool import WorkerError
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import RunSettings
from tasks.execution import events, provenance
from tasks.execution.automatic_runs import automatic_tag
from tasks.execution.graceful_stop import defer_sigterm
from tasks.execution.links import page_url
from tasks.execution.machine import MACHINE_TAG, machine
from tasks.execution.progress_sink import log_message
from tasks.execution.retries import retry_on
from tasks.notify import notify
from tasks.runs.disk_space import low_disk_warning
from tasks.runs.lookup import ROOT_FLOW_RUN_TAG, TRIAL_TAG, load_checkpoint, require_resumable
from tasks.runs.resume_point import last_valid_checkpoint, load_resume_point
from tasks.runs.run_description import describe_training
from tasks.store import Store, StoredCheckpoint, StoreError, open_store, store_in_use
from tasks.training_reporter import TrainingReporter, save_checkpoint


class SavedCheckpoint(Settings):
    """A checkpoint in the store."""

    step: int
    digest: str


class TrainingResult(Settings):
    """Result of training.

    Attributes:
        pipeline_share: share of the wall time that training waited for metrics, checkpoints and progress to be handed
            to MLflow and Prefect.
    """

    steps: int
    mean_return: float | None
    steps_per_second: float
    pipeline_share: float
    checkpoints: tuple[SavedCheckpoint, ...]


class ReopenedRun(Settings):
    """A training run that is resumed; `trial` says whether it belongs to a sweep."""

    name: str
    settings: RunSettings
    trial: bool


@task(task_run_name="start run {name}")
def start_run(settings: RunSettings, name: str, experiment: str | None, tags: Mapping[str, str] | None = None) -> str:
    """Start the MLflow run and return its run id.

    A flow run that is started again after its process was killed continues its MLflow run, unless that run has no
    settings yet. If the first process is still alive, wait until it ends.
    """
    store = open_store()
    if existing := store.find_run(settings, {ROOT_FLOW_RUN_TAG: flow_run.root_flow_run_id}):
        store.lease(existing).wait_until_free()
        if store.run(existing).status != "FINISHED":
            store.resume_run(existing, settings)
        return existing
    automatic = automatic_tag()
    _report_low_disk(store, settings, notifies=bool(automatic))
    run_id = store.start_run(
        settings,
        name=name,
        experiment=experiment,
        **provenance.origin(),
        tags={
            **(tags or {}),
            "ramreel.flow_run_id": flow_run.id,
            MACHINE_TAG: machine(),
            ROOT_FLOW_RUN_TAG: flow_run.root_flow_run_id,
            **automatic,
        },
    )
    link_run(store, run_id, name)
    return run_id


def _report_low_disk(store: Store, settings: RunSettings, *, notifies: bool) -> None:
    if warning := low_disk_warning(store, settings):
        log_message(warning)
        # No user watches the log of a run that an automation started.
        if notifies:
            notify("ramreel: low disk space", warning)


def find_trained_run(settings: TrainSettings) -> str | None:
    """Return the finished MLflow run of these settings that this flow run or a child run trained, or None."""
    store = open_store()
    run_id = store.find_run(run_settings(settings), {ROOT_FLOW_RUN_TAG: flow_run.root_flow_run_id})
    return run_id if run_id and store.run(run_id).status == "FINISHED" else None


def missing_run(settings: TrainSettings) -> StoreError:
    """Return the error of a run that a child flow run trained, but not into this store."""
    return StoreError(
        f"{settings.run_name} was trained, but not into {open_store().address.redacted_uri}: set MLFLOW_TRACKING_URI "
        "to the same store for this process and for all workers"
    )


def link_run(store: Store, run_id: str, name: str) -> None:
    """Create a link artifact for the MLflow run, where a server shows it."""
    url = page_url(store, run_id)
    if url.startswith("http"):
        create_link_artifact(url, key=f"run-{run_id[:8]}", link_text=name, description=f"{name} in MLflow")


@task(
    task_run_name="train {name}",
    retries=2,
    retry_delay_seconds=1,
    # The death of a worker process may be transient; every other failure would occur again.
    retry_condition_fn=retry_on(WorkerError),
    # Results are in MLflow, and `should_stop` cannot be hashed.
    cache_policy=NO_CACHE,
)
def learn(
    run_id: str,
    name: str,
    settings: RunSettings,
    workers: int,
    start_from: StoredCheckpoint | None = None,
    *,
    trial: bool = False,
    should_stop: Callable[[Progress], bool] | None = None,
) -> TrainingResult:
    """Train a run to its last step, resuming from its last valid checkpoint if it has one.

    Args:
        run_id: the run.
        name: its name.
        settings: its settings.
        workers: number of worker processes.
        start_from: checkpoint of another run to start from (default: from scratch).
        trial: the run is a trial of a sweep, which emits no events.
        should_stop: called after every rollout; training ends early if it returns True.

    Raises:
        LeaseError: another process is training the run.
        WorkerError: a worker process died, does not respond, or raised.
        DivergedError: the loss or the policy became non-finite.
    """
    store = store_in_use()
    if not settings.approach.algorithm.learns:
        with store.lease(run_id):
            return _save_unlearned(store, run_id, name, settings, trial=trial)
    with store.lease(run_id) as lease, defer_sigterm() as stop:
        found = last_valid_checkpoint(store, run_id, get_run_logger())
        start = found[1] if found else None
        if start and start.checkpoint.step >= settings.steps:
            return _result(store, run_id, _finished_progress(start, settings), 0)
        if start is None and start_from:
            start = replace(load_resume_point(store, start_from), new_run=True)
        callback = TrainingReporter(
            store, run_id, name, settings, lease, stop, emit_events=not trial, should_stop=should_stop
        )
        with callback:
            if start:
                log_message(f"{name}: resuming from step {start.checkpoint.step:,}")
            if settings.rounding:
                # Commands say so before the flow run.
                get_run_logger().info("%s: %s", name, settings.rounding)
            start_time, start_cpu = time.monotonic(), _cpu_seconds()
            end = learner.train(settings, workers, callback, start)
            seconds = time.monotonic() - start_time
            # One point per session; the time of a session that was killed is unknown.
            callback.on_metrics(
                {"time/wall_seconds": seconds, "time/cpu_seconds": _cpu_seconds() - start_cpu}, end.step
            )
        waited = callback.seconds / seconds
    return _result(store, run_id, end, waited)


def _save_unlearned(store: Store, run_id: str, name: str, settings: RunSettings, *, trial: bool) -> TrainingResult:
    """Save the one checkpoint of an approach that learns nothing, unless it is stored: no rollouts are needed."""
    start_time, start_cpu, step = time.monotonic(), _cpu_seconds(), settings.steps
    if not _has_valid_checkpoint(store, run_id, step):
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            directory = Path(folder) / "playing"
            digest = files.write_checkpoint(unlearned_checkpoint(settings), directory)
            save_checkpoint(run_id, step, str(directory), None, digest)
        if not trial:
            events.checkpoint_saved(run_id, name, settings, step, digest)
        seconds = {
            "time/wall_seconds": time.monotonic() - start_time,
            "time/cpu_seconds": _cpu_seconds() - start_cpu,
        }
        store.log_metrics(run_id, seconds, step)
    return _result(store, run_id, Progress(step, step, 0.0, None), 0)


def _has_valid_checkpoint(store: Store, run_id: str, step: int) -> bool:
    for stored in store.list_checkpoints(run_id):
        if stored.step < step:
            continue
        try:
            load_checkpoint(store, stored)
        except (CheckpointError, StoreError) as error:
            get_run_logger().warning("checkpoint at step %s is replaced: %s", stored.step, error)
        else:
            return True
    return False


def _finished_progress(start: ResumePoint, settings: RunSettings) -> Progress:
    """Return the progress of a run that was trained to its last step before."""
    returns = [episode["r"] for episode in start.state.counters.returns]
    return Progress(start.checkpoint.step, settings.last_step, 0.0, sum(returns) / len(returns) if returns else None)


def _result(store: Store, run_id: str, end: Progress, waited: float) -> TrainingResult:
    return TrainingResult(
        steps=end.step,
        mean_return=end.mean_return,
        steps_per_second=round(end.steps_per_second, 1),
        pipeline_share=round(waited, 4),
        checkpoints=tuple(
            SavedCheckpoint(step=stored.step, digest=stored.digest) for stored in store.list_checkpoints(run_id)
        ),
    )


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of its worker processes that have exited."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@task(task_run_name="reopen run {run_id}")
def reopen_run(run_id: str, steps: int | None) -> ReopenedRun:
    """Mark a run as running again, with a new total of steps if one is given.

    Raises:
        StoreError: the run is not a training run, or another process is training it.
    """
    store = open_store()
    run = require_resumable(store, run_id)
    assert run.settings is not None
    settings = run.settings.model_copy(update={"steps": steps}) if steps else run.settings
    store.resume_run(run_id, settings)
    return ReopenedRun(name=run.name, settings=settings, trial=TRIAL_TAG in run.tags)


@task(task_run_name="describe run {run_id}")
def describe_run(run_id: str) -> None:
    """Describe the run in MLflow by its result, and say how to resume it."""
    describe_training(store_in_use(), run_id)


@task(task_run_name="list checkpoints")
def create_checkpoints_table(run_id: str, name: str, result: TrainingResult) -> None:
    """Create a table artifact of the run's checkpoints."""
    rows = [{"step": saved.step, "digest": saved.digest} for saved in result.checkpoints]
    create_table_artifact(rows, key=f"checkpoints-{run_id[:8]}", description=f"Checkpoints of {name}")
