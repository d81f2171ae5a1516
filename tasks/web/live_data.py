"""Learning curves, and what is being trained now, as JSON for the pages that show them."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tasks.store import (
    TRAINING_RETURN,
    Evaluated,
    RunSummary,
    Store,
    evaluation_curve,
    summaries_of_running,
    summary_of,
)
from tasks.web.artifacts import run_id_of
from tasks.web.pages import NotFoundError

MAX_POINTS = 240
"""Points of a learning curve; of more, neighbors are averaged."""
_FRESH_SECONDS = 2


class RunningRuns:
    """The running training runs of a store, read at most once within two seconds for all who ask."""

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._runs: tuple[RunSummary, ...] = ()
        self._read_at = float("-inf")

    def runs(self) -> tuple[RunSummary, ...]:
        """Return them, the one started last first.

        Raises:
            StoreError: MLflow fails or is unavailable.
        """
        with self._lock:
            if time.monotonic() - self._read_at > _FRESH_SECONDS:
                self._runs, self._read_at = summaries_of_running(self._store), time.monotonic()
            return self._runs


def live_data_routes() -> list[BaseRoute]:
    """Return the routes of curves and of running runs."""
    return [Route("/api/running", _running), Route("/api/runs/{run_id}/curve", _curve)]


def _running(request: Request) -> Response:
    """Return the running training runs, of one game if `game` is given."""
    game, running = request.query_params.get("game"), request.app.state.running
    runs = [run for run in running.runs() if run.state == "running" and game in (None, run.env_id)]
    return JSONResponse([
        {
            "run": run.run_id,
            "step": run.step,
            "steps": run.steps,
            "return": run.training_return,
            "evaluated": _evaluation(run.evaluated) if run.evaluated else None,
        }
        for run in runs
    ])  # fmt: skip


def _curve(request: Request) -> Response:
    """Return a run's learning curve: mean training returns, and the evaluations of its checkpoints."""
    run_id, store = run_id_of(request), request.app.state.store
    run = summary_of(store, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}, or it was deleted.")
    return JSONResponse({
        "training": thinned(store.history(run_id, TRAINING_RETURN)),
        "evaluated": [_evaluation(one) for one in evaluation_curve(store, run_id)],
        "steps": run.steps or run.step,
        "state": run.state,
    })  # fmt: skip


def _evaluation(one: Evaluated) -> list[Any]:
    return [one.step, one.mean, one.low, one.high]


def thinned(points: list[tuple[int, float]], most: int = MAX_POINTS) -> list[tuple[int, float]]:
    """Return a curve of at most `most` points: the last step and the mean value of equal parts of it."""
    if len(points) <= most:
        return points
    parts = np.array_split(np.arange(len(points)), most)
    return [(points[part[-1]][0], float(np.mean([points[index][1] for index in part]))) for part in parts]
