"""What a training tells while it goes on: metrics and checkpoints to MLflow, progress to Prefect and to a person.

Everything that asks a server is done in threads of its own, in order: a server that is away for a while holds up
neither the games nor the learner, and finds all of it when it is back.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.checkpoints.training_state import TrainingState, write_state
from tasks.arcade.progress import Progress
from tasks.arcade.settings.run import RunSettings
from tasks.execution import events
from tasks.execution.graceful_stop import Stop, enough, stop_now
from tasks.execution.progress_sink import audience
from tasks.store import Lease, MetricLog, Store, step_name, store_in_use

_PROGRESS_SECONDS = 5
_LOG_SECONDS = 60
_MOST_WAITING = 10
"""Checkpoints on their way, kept on this machine's disk until the store takes them."""
_LAST_LOOK_SECONDS = 10
"""For which the end waits until Prefect shows it."""

_P = ParamSpec("_P")


@task(task_run_name="save checkpoint at step {step}")
def save_checkpoint(run_id: str, step: int, directory: str, training: str, digest: str) -> str:
    """Store a checkpoint that lies on this machine's disk; returns the id of its logged model."""
    return store_in_use().save_checkpoint(run_id, step, Path(directory), digest, training=Path(training))


def _counted(method: Callable[Concatenate[Reporter, _P], None]) -> Callable[Concatenate[Reporter, _P], None]:
    """The seconds that training waits for what is told of it are added up."""

    @functools.wraps(method)
    def timed(reporter: Reporter, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        began = time.monotonic()
        try:
            method(reporter, *args, **kwargs)
        finally:
            reporter.seconds += time.monotonic() - began

    return timed


class Reporter:
    """Hears the learner; tells MLflow, Prefect and whoever watches. Use as a context manager.

    Attributes:
        seconds: for which training waited for all that.

    Raises:
        StoreError: from any method, when something could not be stored for good, or the run was taken over.
    """

    def __init__(self, store: Store, run_id: str, name: str, settings: RunSettings, lease: Lease, stop: Stop) -> None:
        self._run_id, self._name, self._settings, self._lease, self._stop = run_id, name, settings, lease, stop
        self._metrics: MetricLog = store.metric_log(run_id)
        self._folder = Path(tempfile.mkdtemp(prefix="ramreel-"))
        self._logger = get_run_logger()
        self._artifact = _progress_artifact(run_id, name)
        self._saver = ThreadPoolExecutor(1, thread_name_prefix="ramreel-checkpoints")
        self._shower = ThreadPoolExecutor(1, thread_name_prefix="ramreel-progress")
        self._saving: deque[Future[None]] = deque()
        self._showing: Future[None] | None = None
        self._shown_at = self._logged_at = time.monotonic()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._metrics.__enter__()
        return self

    @_counted
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            # Whatever ended the training, a checkpoint on its way arrives, so that the next try goes on from it.
            self._saver.shutdown()
            if kind is None:
                self._wait_for_saved(0)
        finally:
            try:
                self._metrics.__exit__(kind, error, at)
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
                if self._showing is not None:
                    wait([self._showing], timeout=_LAST_LOOK_SECONDS)
                self._shower.shutdown(wait=False, cancel_futures=True)

    @_counted
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._metrics.log(values, step)

    @_counted
    def checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        self._wait_for_saved(_MOST_WAITING - 1)
        directory = self._folder / step_name(checkpoint.step)
        digest = files.write(checkpoint, directory / "playing")
        write_state(state, digest, directory / "training")
        self._saving.append(self._saver.submit(copy_context().run, self._save, checkpoint.step, directory, digest))
        if self._stop.asked:
            self._wait_for_saved(0)
            stop_now()

    def wants_checkpoint(self) -> bool:
        return self._stop.asked

    def wants_end(self, progress: Progress) -> bool:
        return enough(progress)

    def _save(self, step: int, directory: Path, digest: str) -> None:
        # Whoever goes on from here finds every metric up to here.
        self._metrics.flush()
        save_checkpoint(self._run_id, step, str(directory / "playing"), str(directory / "training"), digest)
        shutil.rmtree(directory)
        events.checkpoint_saved(self._run_id, self._name, self._settings, step, digest)

    def _wait_for_saved(self, most: int) -> None:
        """Wait until so many checkpoints at most are on their way."""
        while self._saving and (len(self._saving) > most or self._saving[0].done()):
            self._saving.popleft().result()

    @_counted
    def progress(self, progress: Progress) -> None:
        self._lease.refuse_if_lost()
        self._wait_for_saved(_MOST_WAITING)
        audience().training(self._name, progress)
        now, over = time.monotonic(), progress.step >= progress.steps
        shown = self._showing is None or self._showing.done()
        if over or (shown and now - self._shown_at >= _PROGRESS_SECONDS):
            self._shown_at = now
            self._showing = self._shower.submit(copy_context().run, self._show, progress)
        if over or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            self._logger.info("%s: %s", self._name, progress)

    def _show(self, progress: Progress) -> None:
        # A bar in the UI that stands still while Prefect is away is no reason to end a training, nor worth a line.
        with suppress(Exception):
            update_progress_artifact(self._artifact, progress=100 * progress.share, description=str(progress))


def _progress_artifact(run_id: str, name: str) -> UUID:
    created = create_progress_artifact(0.0, key=f"training-{run_id[:8]}", description=f"Training {name}")
    assert isinstance(created, UUID)
    return created
