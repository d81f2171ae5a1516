"""Reporting during training: metrics and checkpoints to MLflow, progress to Prefect and to the progress sink.

Requests to servers run in threads of their own, in order: a server that is unavailable for a while delays neither
rollouts nor optimization, and receives everything once it is back.
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
from tasks.execution.graceful_stop import StopRequest, stop_now
from tasks.execution.progress_sink import current_sink
from tasks.store import Lease, MetricWriter, Store, step_name, store_in_use

_PROGRESS_SECONDS = 5
_LOG_SECONDS = 60
_MAX_PENDING = 10
"""Checkpoints on local disk that wait for the store."""
_LAST_UPDATE_SECONDS = 10
"""Time that the last progress update may take at the end of training."""

_P = ParamSpec("_P")


@task(task_run_name="save checkpoint at step {step}")
def save_checkpoint(run_id: str, step: int, directory: str, training: str | None, digest: str) -> str:
    """Store a checkpoint from local disk and return the id of its logged model."""
    playing, training_state = Path(directory), Path(training) if training else None
    return store_in_use().save_checkpoint(
        run_id, step, playing, digest, description=files.read_description(playing), training=training_state
    )


def _timed(
    method: Callable[Concatenate[TrainingReporter, _P], None],
) -> Callable[Concatenate[TrainingReporter, _P], None]:
    """Add the time that training waits for a method to `TrainingReporter.seconds`."""

    @functools.wraps(method)
    def timed(reporter: TrainingReporter, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        start = time.monotonic()
        try:
            method(reporter, *args, **kwargs)
        finally:
            reporter.seconds += time.monotonic() - start

    return timed


class TrainingReporter:
    """The callback of a training run; a context manager.

    Args:
        store: the store.
        run_id: the run.
        name: its name.
        settings: its settings.
        lease: the lease on the run.
        stop: whether a stop was requested.
        emit_events: emit an event for each checkpoint.
        should_stop: called after every rollout; training ends early if it returns True.

    Attributes:
        seconds: time that training waited for reporting.

    Raises:
        StoreError: from any method, if something could not be stored, or another process took over the run.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        name: str,
        settings: RunSettings,
        lease: Lease,
        stop: StopRequest,
        *,
        emit_events: bool = True,
        should_stop: Callable[[Progress], bool] | None = None,
    ) -> None:
        self._run_id, self._name, self._settings, self._lease, self._stop = run_id, name, settings, lease, stop
        self._emit_events, self._should_stop = emit_events, should_stop
        self._metrics: MetricWriter = store.metric_writer(run_id)
        self._folder = Path(tempfile.mkdtemp(prefix="ramreel-"))
        self._logger = get_run_logger()
        self._artifact = _progress_artifact(run_id, name)
        self._checkpoint_thread = ThreadPoolExecutor(1, thread_name_prefix="ramreel-checkpoints")
        self._progress_thread = ThreadPoolExecutor(1, thread_name_prefix="ramreel-progress")
        self._pending: deque[Future[None]] = deque()
        self._progress_update: Future[None] | None = None
        self._updated_at = self._logged_at = time.monotonic()
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._metrics.__enter__()
        return self

    @_timed
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            # Even after a failure pending checkpoints are stored, so that the next attempt resumes from them.
            self._checkpoint_thread.shutdown()
            if kind is None:
                self._wait_for_checkpoints(0)
        finally:
            try:
                self._metrics.__exit__(kind, error, at)
            finally:
                shutil.rmtree(self._folder, ignore_errors=True)
                if self._progress_update is not None:
                    wait([self._progress_update], timeout=_LAST_UPDATE_SECONDS)
                self._progress_thread.shutdown(wait=False, cancel_futures=True)

    @_timed
    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        self._metrics.log(values, step)

    @_timed
    def on_checkpoint(self, checkpoint: Checkpoint, state: TrainingState) -> None:
        self._wait_for_checkpoints(_MAX_PENDING - 1)
        directory = self._folder / step_name(checkpoint.step)
        digest = files.write_checkpoint(checkpoint, directory / "playing")
        write_state(state, digest, directory / "training")
        self._pending.append(
            self._checkpoint_thread.submit(copy_context().run, self._save, checkpoint.step, directory, digest)
        )

    def interrupt_requested(self) -> bool:
        return self._stop.requested

    @_timed
    def on_interrupt(self) -> None:
        self._wait_for_checkpoints(0)
        if self._emit_events:
            events.training_stopped(self._run_id, self._name, self._settings)
        stop_now()

    def should_stop(self, progress: Progress) -> bool:
        return self._should_stop is not None and self._should_stop(progress)

    def _save(self, step: int, directory: Path, digest: str) -> None:
        # Every metric up to this step is stored before the checkpoint that training may be resumed from.
        self._metrics.flush()
        save_checkpoint(self._run_id, step, str(directory / "playing"), str(directory / "training"), digest)
        shutil.rmtree(directory)
        if self._emit_events:
            events.checkpoint_saved(self._run_id, self._name, self._settings, step, digest)

    def _wait_for_checkpoints(self, max_pending: int) -> None:
        """Wait until at most this many checkpoints are pending."""
        while self._pending and (len(self._pending) > max_pending or self._pending[0].done()):
            self._pending.popleft().result()

    @_timed
    def on_progress(self, progress: Progress) -> None:
        self._lease.raise_if_lost()
        self._wait_for_checkpoints(_MAX_PENDING)
        current_sink().update(self._name, progress)
        now, finished = time.monotonic(), progress.step >= progress.steps
        idle = self._progress_update is None or self._progress_update.done()
        if finished or (idle and now - self._updated_at >= _PROGRESS_SECONDS):
            self._updated_at = now
            self._progress_update = self._progress_thread.submit(copy_context().run, self._update_artifact, progress)
        if finished or now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            self._logger.info("%s: %s", self._name, progress)

    def _update_artifact(self, progress: Progress) -> None:
        # An unavailable Prefect server must not end training: the progress bar in its UI is not essential.
        with suppress(Exception):
            update_progress_artifact(self._artifact, progress=100 * progress.share, description=str(progress))


def _progress_artifact(run_id: str, name: str) -> UUID:
    created = create_progress_artifact(0.0, key=f"training-{run_id[:8]}", description=f"Training progress of {name}")
    assert isinstance(created, UUID)
    return created
