"""Metrics of a training run, logged to MLflow in batches by a background thread."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from tasks.store.errors import StoreError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric


def to_metrics(metrics: Mapping[str, float], step: int, timestamp_ms: int, model_id: str | None = None) -> list[Metric]:
    """Return MLflow's metric entities; non-finite values are dropped, since neither plots nor means can use them."""
    from mlflow.entities import Metric

    return [
        Metric(key, float(value), timestamp_ms, step, model_id=model_id)
        for key, value in metrics.items()
        if math.isfinite(value)
    ]


def now_ms() -> int:
    """Return the time in milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


class MetricWriter:
    """Log a run's metrics in order from a background thread; `log` never waits for the store.

    MLflow's asynchronous logging is not used: it sends each call separately, so with an unavailable server each of
    hundreds of queued calls is retried for minutes, one after the other, before the process can exit. Here the queue
    is sent as one batch with MLflow's retries, and nothing more is tried after a failure.

    Args:
        client: MLflow's client.
        run_id: MLflow's run id.
        logged: last logged step of each metric; values up to it are skipped.
    """

    def __init__(self, client: MlflowClient, run_id: str, logged: Mapping[str, int] | None = None) -> None:
        self._client = client
        self._run_id = run_id
        self._logged = dict(logged or {})
        self._queue: SimpleQueue[Metric] = SimpleQueue()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ramreel-metrics")
        self._last_write: Future[None] | None = None
        self._failure: Exception | None = None
        self._step_and_time = (-1, 0)

    def __enter__(self) -> MetricWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._executor.shutdown()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Queue metrics; consecutive calls at one step share the timestamp of the first.

        Args:
            metrics: values by name; non-finite ones are dropped.
            step: environment steps trained.

        Raises:
            StoreError: an earlier write failed after all retries.
        """
        self._raise_failure()
        if step != self._step_and_time[0]:
            self._step_and_time = (step, now_ms())
        # A run that resumes from a checkpoint repeats the steps that were logged before it was stopped.
        new = {key: value for key, value in metrics.items() if step > self._logged.get(key, -1)}
        for metric in to_metrics(new, *self._step_and_time):
            self._queue.put(metric)
        self._last_write = self._executor.submit(self._write)

    def flush(self) -> None:
        """Wait until all queued metrics are logged.

        Raises:
            StoreError: a write failed after all retries.
        """
        if self._last_write is not None:
            self._last_write.result()
        self._raise_failure()

    def _write(self) -> None:
        batch = [self._queue.get() for _ in range(self._queue.qsize())]
        if not batch or self._failure is not None:
            return
        try:
            self._client.log_batch(self._run_id, metrics=batch)
        except Exception as error:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StoreError(f"metrics of run {self._run_id} could not be written: {one_line(self._failure)}")
