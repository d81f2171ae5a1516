"""Training's side effects: a run in MLflow, its metrics and checkpoints, its progress in Prefect."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from tasks import provenance
from tasks.arcade import checkpoint as files
from tasks.arcade import learner
from tasks.arcade.checkpoint import Checkpoint
from tasks.arcade.progress import Progress
from tasks.arcade.settings import RunSettings, Settings
from tasks.audience import audience
from tasks.store import MetricLog, RunStatus, Store, open_store

_PROGRESS_SECONDS = 5
_LOG_SECONDS = 60


class SavedCheckpoint(Settings):
    """A checkpoint that is safely stored."""

    step: int
    digest: str
    mean_return: float | None


class Learned(Settings):
    """What a training came to."""

    steps: int
    mean_return: float | None
    steps_per_second: float
    checkpoints: tuple[SavedCheckpoint, ...]


@task(task_run_name="start run {name}")
def start_run(settings: RunSettings, name: str, experiment: str | None) -> str:
    """Start the MLflow run; returns its id."""
    return open_store().start_run(
        settings,
        name=name,
        experiment=experiment,
        command=provenance.command(),
        versions=provenance.versions(),
        commit=provenance.commit(),
    )


@task(task_run_name="learn {name}")
def learn(run_id: str, name: str, settings: RunSettings, workers: int) -> Learned:
    """Train to the end; metrics and checkpoints reach MLflow while it goes on."""
    with _Reporter(open_store(), run_id, name) as reporter:
        end = learner.train(settings, workers, reporter)
    return Learned(
        steps=end.step,
        mean_return=end.mean_return,
        steps_per_second=round(end.steps_per_second, 1),
        checkpoints=tuple(reporter.saved),
    )


@task(task_run_name="save checkpoint at step {step}")
def save_checkpoint(run_id: str, step: int, directory: str, digest: str) -> str:
    """Store a checkpoint that lies on this machine's disk; returns the id of its logged model."""
    return open_store().save_checkpoint(run_id, step, Path(directory), digest)


@task(task_run_name="end run: {status}")
def finish_run(run_id: str, status: RunStatus, reason: str | None = None) -> None:
    """End the MLflow run."""
    open_store().finish_run(run_id, status, reason)


@task(task_run_name="list checkpoints")
def show_checkpoints(run_id: str, learned: Learned) -> None:
    """A table of the checkpoints, in Prefect's UI."""
    rows = [
        {"step": saved.step, "mean return in training": saved.mean_return, "digest": saved.digest[:12]}
        for saved in learned.checkpoints
    ]
    create_table_artifact(rows, key=f"checkpoints-{run_id[:8]}", description=f"Checkpoints of MLflow run {run_id}")


class _Reporter:
    """Hears the learner; tells MLflow, Prefect and whoever watches."""

    def __init__(self, store: Store, run_id: str, name: str) -> None:
        self._run_id, self._name = run_id, name
        self._metrics: MetricLog = store.metric_log(run_id)
        self._folder = Path(tempfile.mkdtemp(prefix="ramreel-"))
        self._logger = get_run_logger()
        self._artifact = _progress_artifact(run_id, name)
        self._shown_at = self._logged_at = time.monotonic()
        self._mean_return: float | None = None
        self.saved: list[SavedCheckpoint] = []

    def __enter__(self) -> Self:
        self._metrics.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._metrics.__exit__(kind, error, at)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._metrics.log(values, step)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        directory = self._folder / f"step-{checkpoint.step:09d}"
        digest = files.write(checkpoint, directory)
        save_checkpoint(self._run_id, checkpoint.step, str(directory), digest)
        shutil.rmtree(directory)
        self.saved.append(SavedCheckpoint(step=checkpoint.step, digest=digest, mean_return=self._mean_return))

    def progress(self, progress: Progress) -> None:
        self._mean_return = progress.mean_return
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
