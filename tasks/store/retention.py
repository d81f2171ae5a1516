"""What a retention deletes, and what stays: a plan; nothing is deleted here.

Only runs that a schedule or an automation started are old enough to go; others are kept unless `manual` is set.
Champions, running runs, runs with the tag `ramreel.keep`, and the runs of the reports that stay are kept whole.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from tasks.arcade.inputs.unattended import PruneSettings
from tasks.store import mlflow_internals, queries
from tasks.store.address import Address
from tasks.store.artifact_files import ArtifactFile, list_files, total_size
from tasks.store.artifact_paths import VIDEOS
from tasks.store.champions import ChampionRegistry
from tasks.store.connection import connect
from tasks.store.errors import raises_store_error
from tasks.store.lease import lease_host
from tasks.store.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

AUTOMATIC_TAG = "ramreel.automatic"
"""Tag of a run that a schedule or an automation started."""
KEEP_TAG = "ramreel.keep"
"""Tag with which a user keeps a run, whatever its value."""
PRUNED_STATES, PRUNED_VIDEOS = "ramreel.pruned.states", "ramreel.pruned.videos"
"""Tags of a run with the steps, in JSON, whose training states and videos were deleted."""
_KINDS = ("training", "comparison")
_TRIAL = "ramreel.trial"
_MEAN_RETURN = "eval/mean_reward"
_STEP = re.compile(r"/step-(\d{9,11})[./]")
_DAY_MS = timedelta(days=1) // timedelta(milliseconds=1)


class PrunedRun(BaseModel):
    """A run to delete; `size` is that of its artifacts and checkpoints in bytes."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    name: str
    size: int


class PrunedFiles(BaseModel):
    """Files of a run to delete, and the steps they belong to."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    steps: tuple[int, ...]
    files: tuple[ArtifactFile, ...]


class PrunePlan(BaseModel):
    """What a retention deletes.

    Attributes:
        runs: whole runs.
        deleted_runs: runs that were deleted in MLflow, to be deleted for good.
        videos: videos of other runs.
        training_states: training states of other runs.
        manual: number of runs that are kept because they were started by hand.
    """

    model_config = ConfigDict(frozen=True)

    runs: tuple[PrunedRun, ...] = ()
    deleted_runs: tuple[PrunedRun, ...] = ()
    videos: tuple[PrunedFiles, ...] = ()
    training_states: tuple[PrunedFiles, ...] = ()
    manual: int = 0

    @property
    def size(self) -> int:
        """Size of all of it in bytes."""
        whole = sum(run.size for run in (*self.runs, *self.deleted_runs))
        return whole + sum(file.size for one in (*self.videos, *self.training_states) for file in one.files)


@raises_store_error
def plan_pruning(store: Store, settings: PruneSettings) -> PrunePlan:
    """Return what a retention deletes now, without deleting anything."""
    if store.address.is_fresh:
        return PrunePlan()
    return _Retention(store, settings).plan()


class _Retention:
    """A retention over the runs of a store."""

    def __init__(self, store: Store, settings: PruneSettings) -> None:
        self._address, self._settings, self._now = store.address, settings, int(time.time() * 1000)
        self._client: MlflowClient = connect(store.address)
        self._runs = list(queries.all_runs(self._client))
        self._champions = {one.run_id: one.step for one in ChampionRegistry(store.address).champions()}
        self._size = cache(self._uncached_size)

    def plan(self) -> PrunePlan:
        own = [run for run in self._runs if _may_go(run)]
        prunable = [run for run in own if self._settings.manual or AUTOMATIC_TAG in run.data.tags]
        gone = self._runs_beyond_size(prunable, self._old_runs(prunable))
        left = [run for run in prunable if run.info.run_id not in gone and run.data.tags["ramreel.kind"] == "training"]
        reported = self._reported(gone)
        videos = [run for run in left if self._is_older(run, self._settings.videos_days)]
        states = [run for run in left if self._is_older(run, self._settings.states_days)]
        return PrunePlan(
            runs=tuple(self._pruned(run) for run in prunable if run.info.run_id in gone),
            deleted_runs=tuple(map(self._pruned, self._deleted_runs(reported))),
            videos=tuple(filter(None, (self._videos(run) for run in videos if run.info.run_id not in reported))),
            training_states=tuple(filter(None, map(self._training_states, states))),
            manual=len(own) - len(prunable),
        )

    def _old_runs(self, prunable: Sequence[Run]) -> set[str]:
        limits = self._limits(prunable)
        return self._unprotected(
            prunable,
            lambda run: (
                self._is_older(run, self._settings.runs_days)
                or run.info.start_time < limits.get(run.info.experiment_id, 0)
            ),
        )

    def _limits(self, prunable: Sequence[Run]) -> Mapping[str, int]:
        """Return by experiment the start of the oldest training run within the number that is kept."""
        starts: dict[str, list[int]] = {}
        for run in prunable:
            if self._settings.max_runs and run.data.tags["ramreel.kind"] == "training":
                starts.setdefault(run.info.experiment_id, []).append(run.info.start_time)
        return {
            experiment: sorted(every, reverse=True)[: self._settings.max_runs][-1]
            for experiment, every in starts.items()
        }

    def _runs_beyond_size(self, prunable: Sequence[Run], gone: set[str]) -> set[str]:
        """Add the oldest runs, but none of the last day, until the others fit into the size."""
        if self._settings.max_gb is None:
            return gone
        limit = self._settings.max_gb * 10**9
        total = sum(map(self._size, self._runs))
        starts = sorted(run.info.start_time for run in prunable if self._is_older(run, 1))
        low, high = 0, len(starts)
        # The size that is freed grows with the age from which runs are deleted.
        while low < high:
            middle = (low + high) // 2
            if total - self._freed(prunable, gone, starts, middle) > limit:
                low = middle + 1
            else:
                high = middle
        return gone | self._oldest(prunable, starts, low)

    def _freed(self, prunable: Sequence[Run], gone: set[str], starts: Sequence[int], number: int) -> int:
        ids = gone | self._oldest(prunable, starts, number)
        return sum(self._size(run) for run in prunable if run.info.run_id in ids)

    def _oldest(self, prunable: Sequence[Run], starts: Sequence[int], number: int) -> set[str]:
        """Return the runs that may go among the given number of oldest ones."""
        oldest = set(starts[:number])
        return self._unprotected(prunable, lambda run: run.info.start_time in oldest)

    def _unprotected(self, prunable: Sequence[Run], is_old: Callable[[Run], bool]) -> set[str]:
        """Return the old runs, without champions and without those that a report of a younger run refers to."""
        old = {run.info.run_id for run in prunable if is_old(run)}
        return old - self._reported(old) - self._champions.keys()

    def _reported(self, gone: Collection[str]) -> set[str]:
        """Return the runs that the comparisons which stay refer to."""
        return {
            run_id
            for run in self._runs
            if run.info.run_id not in gone
            for run_id in run.data.tags.get("ramreel.runs", "").split()
        }

    def _deleted_runs(self, reported: Collection[str]) -> list[Run]:
        """Return the runs that were deleted in MLflow long enough ago; none behind a server, which keeps them."""
        store = mlflow_internals.hard_deleting_store(self._client)
        if store is None:
            return []
        due = set(store._get_deleted_runs(older_than=self._settings.deleted_days * _DAY_MS))
        kept = {*reported, *self._champions}
        return [
            run
            for run in queries.all_runs(self._client, deleted=True)
            if run.info.run_id in due - kept and KEEP_TAG not in run.data.tags
        ]

    def _is_older(self, run: Run, days: int) -> bool:
        return bool((run.info.end_time or run.info.start_time) < self._now - days * _DAY_MS)

    def _pruned(self, run: Run) -> PrunedRun:
        return PrunedRun(run_id=run.info.run_id, name=run.info.run_name or "", size=self._size(run))

    def _uncached_size(self, run: Run) -> int:
        return _run_size(self._client, self._address, run)

    def _videos(self, run: Run) -> PrunedFiles | None:
        return self._files(run, VIDEOS, lambda file: file.path.endswith(".mp4"))

    def _training_states(self, run: Run) -> PrunedFiles | None:
        return self._files(run, "checkpoints", lambda _: True)

    def _files(self, run: Run, folder: str, is_meant: Callable[[ArtifactFile], bool]) -> PrunedFiles | None:
        """Return files of the steps that a run need not keep; None if there are none."""
        steps = set(queries.checkpoint_steps(self._client, run))
        kept = self._kept_steps(run, steps)
        found = [
            (step, file)
            for file in list_files(self._address, run.info.artifact_uri, folder)
            if is_meant(file) and (step := _step_of(file)) is not None and step not in kept
        ]
        if not found:
            return None
        return PrunedFiles(
            run_id=run.info.run_id,
            steps=tuple(sorted({step for step, _ in found})),
            files=tuple(file for _, file in found),
        )

    def _kept_steps(self, run: Run, steps: Collection[int]) -> set[int]:
        """Return the steps of a run's last and best checkpoints, and of the champion if it is one."""
        history = self._client.get_metric_history(run.info.run_id, _MEAN_RETURN)
        best = [max(history, key=lambda point: (point.value, point.step)).step] if history else []
        champion = self._champions.get(run.info.run_id)
        return {*best, *([max(steps)] if steps else []), *([champion] if champion is not None else [])}


@raises_store_error
def stored_size(store: Store, run_id: str) -> int:
    """Return the size of a run's artifacts and checkpoints in bytes."""
    client = connect(store.address)
    return _run_size(client, store.address, client.get_run(run_id))


def _run_size(client: MlflowClient, address: Address, run: Run) -> int:
    places = (run.info.artifact_uri, *(model.artifact_location for model in queries.logged_models(client, run)))
    return sum(total_size(address, place) for place in places)


def _may_go(run: Run) -> bool:
    """Whether a run is of a kind that can grow old, ended, and was not marked to be kept."""
    tags = run.data.tags
    return (
        tags.get("ramreel.kind") in _KINDS
        and KEEP_TAG not in tags
        and _TRIAL not in tags
        and not (run.info.status == "RUNNING" and lease_host(tags))
    )


def _step_of(file: ArtifactFile) -> int | None:
    match = _STEP.search(f"/{file.path}")
    return int(match[1]) if match else None


def pruned_steps(tags: Mapping[str, str], tag: str) -> Iterator[int]:
    """Yield the steps of a run whose files were deleted, from `PRUNED_STATES` or `PRUNED_VIDEOS`."""
    try:
        yield from map(int, json.loads(tags.get(tag, "[]")))
    except (TypeError, ValueError):
        return
