"""Training's side effects: a run in MLflow, its metrics and checkpoints, its progress in Prefect."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self
from uuid import UUID

from prefect import task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from tasks import events, provenance
from tasks.arcade import checkpoint as files
from tasks.arcade import learner
from tasks.arcade.checkpoint import Checkpoint, CheckpointError
from tasks.arcade.folder import DamagedError
from tasks.arcade.learner import Start
from tasks.arcade.progress import Progress
from tasks.arcade.settings import RunSettings, Settings
from tasks.arcade.training_state import TrainingState, read_state, write_state
from tasks.arcade.workers import WorkerError
from tasks.audience import audience
from tasks.links import link
from tasks.runs import fetch, resumable
from tasks.stopping import Stop, stop_now, stoppable
from tasks.store import MetricLog, RunStatus, Store, StoredCheckpoint, StoreError, open_store

ROOT = "ramreel.root_flow_run_id"
"""Tag of the outermost flow run that a run was made in, which is the same when it is started again."""
_PROGRESS_SECONDS = 5
_LOG_SECONDS = 60


class SavedCheckpoint(Settings):
    """A checkpoint that is safely stored."""

    step: int
    digest: str


class Learned(Settings):
    """What a training came to."""

    steps: int
    mean_return: float | None
    steps_per_second: float
    pipeline_share: float
    """Of the training's time, spent on metrics, checkpoints and progress: on MLflow and Prefect."""
    checkpoints: tuple[SavedCheckpoint, ...]


@task(task_run_name="start run {name}")
def start_run(settings: RunSettings, name: str, experiment: str | None, tags: Mapping[str, str] | None = None) -> str:
    """Start the MLflow run; returns its id.

    A flow run that is started again, after its process was killed, goes on with the MLflow run that it had. If its
    first process lives after all, that one is waited for.
    """
    store = open_store()
    for run_id in store.runs_tagged(ROOT, flow_run.root_flow_run_id):
        if store.run(run_id).settings == settings:
            store.lease(run_id).wait_until_free()
            store.reopen_run(run_id, settings)
            return run_id
    run_id = store.start_run(
        settings,
        name=name,
        experiment=experiment,
        command=provenance.command(),
        versions=provenance.versions(),
        commit=provenance.commit(),
        tags={**(tags or {}), "ramreel.flow_run_id": flow_run.id, ROOT: flow_run.root_flow_run_id},
    )
    show_run(store, run_id, name)
    return run_id


def show_run(store: Store, run_id: str, name: str) -> None:
    """A link to the MLflow run, in Prefect's UI."""
    page = link(store, run_id)
    if page.startswith("http"):
        create_link_artifact(page, key=f"run-{run_id[:8]}", link_text=name, description=f"MLflow run {run_id}")


def _worth_a_retry(_: Any, __: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), WorkerError)


@task(
    task_run_name="learn {name}",
    retries=2,
    retry_delay_seconds=1,
    # A worker that died may live next time; what else fails would fail again.
    retry_condition_fn=_worth_a_retry,
)
def learn(
    run_id: str, name: str, settings: RunSettings, workers: int, begin: StoredCheckpoint | None = None
) -> Learned:
    """Train to the end, from the last good checkpoint if there is one; everything reaches MLflow while it goes on.

    Args:
        run_id: the run.
        name: its name.
        settings: its settings.
        workers: processes.
        begin: another run's checkpoint that this one begins with; none: from scratch.

    Raises:
        StoreError: the run is being trained by another process.
        WorkerError: a worker process died, hangs or raised.
    """
    store = open_store()
    with store.lease(run_id), stoppable() as stop, _Reporter(store, run_id, name, settings, stop) as reporter:
        start = _last_good_checkpoint(store, run_id)
        if start is None and begin:
            start = replace(read_start(store, begin), fresh=True)
        if start:
            get_run_logger().info("%s: going on from step %s", name, f"{start.checkpoint.step:,}")
            audience().said(f"{name}: going on from step {start.checkpoint.step:,}")
        began = time.monotonic()
        end = learner.train(settings, workers, reporter, start)
        waited = reporter.seconds / (time.monotonic() - began)
    return Learned(
        steps=end.step,
        mean_return=end.mean_return,
        steps_per_second=round(end.steps_per_second, 1),
        pipeline_share=round(waited, 4),
        checkpoints=tuple(
            SavedCheckpoint(step=stored.step, digest=stored.digest) for stored in store.list_checkpoints(run_id)
        ),
    )


def _last_good_checkpoint(store: Store, run_id: str) -> Start | None:
    """The newest checkpoint that is whole and unharmed; none if there is none."""
    for stored in reversed(store.list_checkpoints(run_id)):
        try:
            return read_start(store, stored)
        except (DamagedError, CheckpointError, StoreError) as error:
            get_run_logger().warning("checkpoint at step %s cannot be gone on from: %s", stored.step, error)
    return None


def read_start(store: Store, stored: StoredCheckpoint) -> Start:
    """A checkpoint, with what going on from it needs.

    Raises:
        DamagedError, CheckpointError: it is damaged.
        StoreError: it cannot be brought here.
    """
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        state = read_state(store.fetch_training(stored, Path(folder)), stored.digest)
    return Start(fetch(store, stored), state)


@task(task_run_name="reopen run {run_id}")
def reopen_run(run_id: str, steps: int | None) -> tuple[str, RunSettings]:
    """Have a run go on; returns its name and its settings, with more steps if asked for.

    Raises:
        StoreError: it is no training, has no checkpoint to go on from, or is being trained by another process.
    """
    store = open_store()
    run = resumable(store, run_id)
    assert run.settings is not None
    settings = run.settings.model_copy(update={"steps": steps}) if steps else run.settings
    store.reopen_run(run_id, settings)
    return run.name, settings


@task(task_run_name="save checkpoint at step {step}")
def save_checkpoint(run_id: str, step: int, directory: str, training: str, digest: str) -> str:
    """Store a checkpoint that lies on this machine's disk; returns the id of its logged model."""
    return open_store().save_checkpoint(run_id, step, Path(directory), digest, training=Path(training))


@task(task_run_name="end run: {status}")
def finish_run(run_id: str, status: RunStatus, reason: str | None = None) -> None:
    """End the MLflow run."""
    open_store().finish_run(run_id, status, reason)


@task(task_run_name="list checkpoints")
def show_checkpoints(run_id: str, learned: Learned) -> None:
    """A table of the checkpoints, in Prefect's UI."""
    rows = [{"step": saved.step, "digest": saved.digest} for saved in learned.checkpoints]
    create_table_artifact(rows, key=f"checkpoints-{run_id[:8]}", description=f"Checkpoints of MLflow run {run_id}")


_P = ParamSpec("_P")


def _counted(method: Callable[Concatenate[_Reporter, _P], None]) -> Callable[Concatenate[_Reporter, _P], None]:
    """The seconds that training waits for what is told of it are added up."""

    @functools.wraps(method)
    def timed(reporter: _Reporter, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        began = time.monotonic()
        try:
            method(reporter, *args, **kwargs)
        finally:
            reporter.seconds += time.monotonic() - began

    return timed


class _Reporter:
    """Hears the learner; tells MLflow, Prefect and whoever watches.

    Attributes:
        seconds: for which training waited for all that.
    """

    def __init__(self, store: Store, run_id: str, name: str, settings: RunSettings, stop: Stop) -> None:
        self._run_id, self._name, self._settings, self._stop = run_id, name, settings, stop
        self._metrics: MetricLog = store.metric_log(run_id)
        self._folder = Path(tempfile.mkdtemp(prefix="ramreel-"))
        self._logger = get_run_logger()
        self._artifact = _progress_artifact(run_id, name)
        self._shown_at = self._logged_at = time.monotonic()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._metrics.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._metrics.__exit__(kind, error, at)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    @_counted
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._metrics.log(values, step)

    @_counted
    def checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        # Whoever goes on from here finds every metric up to here.
        self._metrics.flush()
        directory = self._folder / f"step-{checkpoint.step:09d}"
        digest = files.write(checkpoint, directory / "playing")
        write_state(state, digest, directory / "training")
        save_checkpoint(self._run_id, checkpoint.step, str(directory / "playing"), str(directory / "training"), digest)
        shutil.rmtree(directory)
        events.checkpoint_saved(self._run_id, self._name, self._settings, checkpoint.step, digest)
        if self._stop.asked:
            stop_now()

    def wants_checkpoint(self) -> bool:
        return self._stop.asked

    @_counted
    def progress(self, progress: Progress) -> None:
        audience().training(self._name, progress)
        now, over = time.monotonic(), progress.step >= progress.steps
        if over or now - self._shown_at >= _PROGRESS_SECONDS:
            self._shown_at = now
            update_progress_artifact(self._artifact, progress=100 * progress.share, description=str(progress))
        if over or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            self._logger.info("%s: %s", self._name, progress)


def _progress_artifact(run_id: str, name: str) -> UUID:
    created = create_progress_artifact(0.0, key=f"training-{run_id[:8]}", description=f"Training {name}")
    assert isinstance(created, UUID)
    return created
