"""The runs of all games, read in the background: reading thousands of runs from MLflow takes seconds.

MLflow loads all parameters, metrics and tags of each run that a search finds, about 5 ms per run. A page therefore
shows what was read last, and says when that was.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from tasks.store import (
    ChampionRegistry,
    Evaluated,
    RunSummary,
    Store,
    StoredCheckpoint,
    StoreError,
    evaluation_curve,
    pages_of_summaries,
    summaries_of_running,
    summaries_since,
)

MAX_RUNS = 20_000
"""Runs that are kept, about 1 kB each; the oldest ones are left out."""
_FRESH_SECONDS = 5
"""Age up to which nothing is read again."""
_IDLE_PER_READING = 20
"""All runs are read again after this many times as long as reading them took: at most 5% of a core."""
_PATIENCE_SECONDS = 0.4
"""How long a page waits for a reading; then it shows what there is."""
_OVERLAP_SECONDS = 60
"""Clocks of machines that write runs differ."""


@dataclass(frozen=True)
class Snapshot:
    """What was read last.

    Attributes:
        runs: runs by id.
        champions: checkpoints of the champions by environment id.
        evaluations: evaluations of those champions that are not the last checkpoint of their run.
        complete: whether all runs were read; otherwise the first reading is under way.
        read_at: seconds of the monotonic clock when the reading began.
        error: why the last reading failed; empty if it did not.
    """

    runs: Mapping[str, RunSummary] = field(default_factory=dict)
    champions: Mapping[str, StoredCheckpoint] = field(default_factory=dict)
    evaluations: Mapping[str, Evaluated] = field(default_factory=dict)
    complete: bool = False
    read_at: float = -math.inf
    error: str = ""

    @property
    def age(self) -> int:
        """Seconds since the last reading began; 0 before the first one."""
        return round(time.monotonic() - self.read_at) if math.isfinite(self.read_at) else 0


class Overview:
    """The last snapshot of a store, refreshed when a page requests it."""

    def __init__(self, store: Store) -> None:
        self._store, self._snapshot = store, Snapshot()
        self._lock, self._idle = threading.Lock(), threading.Event()
        self._idle.set()
        self._all_read_at, self._reading_seconds = -math.inf, 0.0
        self._read_through, self._clock_offset = 0.0, 0.0

    def snapshot(self) -> Snapshot:
        """Return what was read last, after waiting a moment for what is being read."""
        self.read_ahead()
        self._idle.wait(_PATIENCE_SECONDS)
        return self._snapshot

    def read_ahead(self) -> None:
        """Start reading, unless what was read last is fresh."""
        with self._lock:
            if self._idle.is_set() and time.monotonic() - self._snapshot.read_at > _FRESH_SECONDS:
                self._idle.clear()
                threading.Thread(target=self._refresh, name="ramreel-overview", daemon=True).start()

    def _refresh(self) -> None:
        began, wall = time.monotonic(), time.time()
        # Runs that start after the clock was set back seem to have started before the last reading.
        clock_was_set = abs(wall - began - self._clock_offset) > _OVERLAP_SECONDS
        try:
            all_again = began - self._all_read_at > max(_FRESH_SECONDS, _IDLE_PER_READING * self._reading_seconds)
            if all_again or clock_was_set or not self._snapshot.complete:
                self._read_all(began)
                self._all_read_at, self._reading_seconds = began, time.monotonic() - began
            else:
                self._read_changes(began)
            self._read_through, self._clock_offset = wall, wall - began
        except StoreError as error:
            self._snapshot = replace(self._snapshot, error=str(error), read_at=began)
        finally:
            self._idle.set()

    def _read_all(self, began: float) -> None:
        runs: dict[str, RunSummary] = {}
        for page in pages_of_summaries(self._store):
            runs |= {run.run_id: run for run in page}
            if not self._snapshot.complete:
                self._snapshot = replace(self._snapshot, runs=dict(runs))
            if len(runs) >= MAX_RUNS:
                break
        self._publish(runs, began)

    def _read_changes(self, began: float) -> None:
        """Read the runs that were started, ended or are running; those that were recorded later come with all runs."""
        since = int((self._read_through - _OVERLAP_SECONDS) * 1000)
        changed = (*summaries_since(self._store, since), *summaries_of_running(self._store))
        runs = {run.run_id: run for run in changed} | dict(self._snapshot.runs)
        self._publish(runs | {run.run_id: run for run in changed}, began)

    def _publish(self, runs: Mapping[str, RunSummary], began: float) -> None:
        found = ChampionRegistry(self._store.address).checkpoints()
        champions = {env_id: stored for env_id, stored in found.items() if stored.run_id in runs}
        evaluations = {}
        for env_id, stored in champions.items():
            if evaluated := self._evaluation(env_id, stored, runs[stored.run_id]):
                evaluations[env_id] = evaluated
        self._snapshot = Snapshot(runs, champions, evaluations, complete=True, read_at=began)

    def _evaluation(self, env_id: str, stored: StoredCheckpoint, run: RunSummary) -> Evaluated | None:
        before = self._snapshot
        if run.evaluated and run.evaluated.step == stored.step:
            return run.evaluated
        if before.champions.get(env_id) == stored and env_id in before.evaluations:
            return before.evaluations[env_id]
        with suppress(StoreError):
            curve = evaluation_curve(self._store, stored.run_id)
            return next((one for one in curve if one.step == stored.step), None)
        return None
