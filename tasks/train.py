"""Training's side effects: a run in MLflow, its metrics and checkpoints, its progress in Prefect."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from tasks.arcade import learner
from tasks.arcade.checkpoints.checkpoint import CheckpointError
from tasks.arcade.checkpoints.training_state import read_state
from tasks.arcade.checkpoints.verified_folder import DamagedError
from tasks.arcade.learner import Start
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.worker_pool import WorkerError
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import RunSettings
from tasks.execution import provenance
from tasks.execution.graceful_stop import stoppable
from tasks.execution.links import link
from tasks.execution.progress_sink import announce
from tasks.execution.retries import only_after
from tasks.runs.lookup import fetch, resumable
from tasks.store import Store, StoredCheckpoint, StoreError, open_store, store_in_use
from tasks.training_reporter import Reporter

ROOT = "ramreel.root_flow_run_id"
"""Tag of the outermost flow run that a run was made in, which is the same when it is started again."""


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

    A flow run that is started again, after its process was killed, goes on with the MLflow run that it had, unless
    that one had hardly begun. If its first process lives after all, that one is waited for.
    """
    store = open_store()
    for run in store.scan(store.runs_tagged(ROOT, flow_run.root_flow_run_id)):
        if run.settings == settings:
            store.lease(run.run_id).wait_until_free()
            if store.run(run.run_id).status != "FINISHED":
                store.reopen_run(run.run_id, settings)
            return run.run_id
    run_id = store.start_run(
        settings,
        name=name,
        experiment=experiment,
        **provenance.origin(),
        tags={**(tags or {}), "ramreel.flow_run_id": flow_run.id, ROOT: flow_run.root_flow_run_id},
    )
    show_run(store, run_id, name)
    return run_id


def show_run(store: Store, run_id: str, name: str) -> None:
    """A link to the MLflow run, in Prefect's UI."""
    page = link(store, run_id)
    if page.startswith("http"):
        create_link_artifact(page, key=f"run-{run_id[:8]}", link_text=name, description=f"MLflow run {run_id}")


@task(
    task_run_name="learn {name}",
    retries=2,
    retry_delay_seconds=1,
    # A worker that died may live next time; what else fails would fail again.
    retry_condition_fn=only_after(WorkerError),
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
        LeaseError: the run is being trained by another process.
        WorkerError: a worker process died, hangs or raised.
        DivergedError: its numbers are none any more.
    """
    store = store_in_use()
    with store.lease(run_id) as lease, stoppable() as stop:
        found = last_good(store, run_id)
        start = found[1] if found else None
        if start and start.checkpoint.step >= settings.steps:
            return _learned(store, run_id, _at_its_end(start, settings), 0)
        if start is None and begin:
            start = replace(_read_start(store, begin), fresh=True)
        reporter = Reporter(store, run_id, name, settings, lease, stop)
        with reporter:
            if start:
                announce(f"{name}: going on from step {start.checkpoint.step:,}")
            began, spent = time.monotonic(), _cpu_seconds()
            end = learner.train(settings, workers, reporter, start)
            seconds = time.monotonic() - began
            # Every sitting adds a point of its own; what one took that was killed is not known.
            reporter.metrics({"time/wall_seconds": seconds, "time/cpu_seconds": _cpu_seconds() - spent}, end.step)
        waited = reporter.seconds / seconds
    return _learned(store, run_id, end, waited)


def _at_its_end(start: Start, settings: RunSettings) -> Progress:
    """A training of which nothing is left: somebody trained it to its end already."""
    returns = [episode["r"] for episode in start.state.counters.returns]
    return Progress(start.checkpoint.step, settings.steps, 0.0, sum(returns) / len(returns) if returns else None)


def _learned(store: Store, run_id: str, end: Progress, waited: float) -> Learned:
    return Learned(
        steps=end.step,
        mean_return=end.mean_return,
        steps_per_second=round(end.steps_per_second, 1),
        pipeline_share=round(waited, 4),
        checkpoints=tuple(
            SavedCheckpoint(step=stored.step, digest=stored.digest) for stored in store.list_checkpoints(run_id)
        ),
    )


def _cpu_seconds() -> float:
    """CPU time of this process and of its workers that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def last_good(store: Store, run_id: str, up_to: int | None = None) -> tuple[StoredCheckpoint, Start] | None:
    """The newest checkpoint that is whole and unharmed, at most at a step if one is given; none if there is none."""
    for stored in reversed(store.list_checkpoints(run_id)):
        if up_to is not None and stored.step > up_to:
            continue
        try:
            return stored, _read_start(store, stored)
        except (DamagedError, CheckpointError, StoreError) as error:
            get_run_logger().warning("checkpoint at step %s cannot be gone on from: %s", stored.step, error)
    return None


def _read_start(store: Store, stored: StoredCheckpoint) -> Start:
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
        StoreError: it is no training, or is being trained by another process.
    """
    store = open_store()
    run = resumable(store, run_id)
    assert run.settings is not None
    settings = run.settings.model_copy(update={"steps": steps}) if steps else run.settings
    store.reopen_run(run_id, settings)
    return run.name, settings


@task(task_run_name="list checkpoints")
def show_checkpoints(run_id: str, name: str, learned: Learned) -> None:
    """A table of the checkpoints, in Prefect's UI."""
    rows = [{"step": saved.step, "digest": saved.digest} for saved in learned.checkpoints]
    create_table_artifact(rows, key=f"checkpoints-{run_id[:8]}", description=f"Checkpoints of {name}")
