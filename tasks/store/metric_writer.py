"""Metrics on their way to MLflow: dropped if not finite, written beside the training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from tasks.store.models import StoreError, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric


def to_metrics(metrics: Mapping[str, float], step: int, timestamp_ms: int, model_id: str | None = None) -> list[Metric]:
    """MLflow's entities; values that are not finite are left out, since no plot and no mean can use them."""
    from mlflow.entities import Metric

    return [
        Metric(key, float(value), timestamp_ms, step, model_id=model_id)
        for key, value in metrics.items()
        if math.isfinite(value)
    ]


def now_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


class MetricLog:
    """Writes a run's metrics in a thread of its own, in order; `log` never waits for the store.

    MLflow's own asynchronous logging is not used: it sends every call on its own, so that with a dead server each of
    hundreds of waiting calls is retried for minutes, one after another, before the process may end. Here whatever
    waits goes out as one batch, with MLflow's patient retries, and after a failure nothing more is tried.
    """

    def __init__(self, client: MlflowClient, run_id: str, logged: Mapping[str, int] | None = None) -> None:
        self._client = client
        self._run_id = run_id
        self._logged = dict(logged or {})
        self._waiting: SimpleQueue[Metric] = SimpleQueue()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ramreel-metrics")
        self._last_write: Future[None] | None = None
        self._failure: Exception | None = None
        self._step_and_time = (-1, 0)

    def __enter__(self) -> MetricLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush()
        finally:
            self._writer.shutdown()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Hand metrics over; all that is logged at a step in a row bears the time of the first.

        Args:
            metrics: values by name; those that are not finite are dropped.
            step: steps of training so far.

        Raises:
            StoreError: an earlier write failed for good.
        """
        self._raise_failure()
        if step != self._step_and_time[0]:
            self._step_and_time = (step, now_ms())
        # A training that goes on from a checkpoint plays again what it had logged before it was stopped.
        new = {key: value for key, value in metrics.items() if step > self._logged.get(key, -1)}
        for metric in to_metrics(new, *self._step_and_time):
            self._waiting.put(metric)
        self._last_write = self._writer.submit(self._write)

    def flush(self) -> None:
        """Wait until everything is in the store.

        Raises:
            StoreError: something could not be written.
        """
        if self._last_write is not None:
            self._last_write.result()
        self._raise_failure()

    def _write(self) -> None:
        batch = [self._waiting.get() for _ in range(self._waiting.qsize())]
        if not batch or self._failure is not None:
            return
        try:
            self._client.log_batch(self._run_id, metrics=batch)
        except Exception as error:
            self._failure = error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise StoreError(f"metrics of run {self._run_id} could not be written: {one_line(self._failure)}")
