"""Runs read: found by reference, name or tag, with their settings, parameters and metrics."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.arcade.external_runs import ExternalRun
from tasks.arcade.settings.base import parse_json
from tasks.arcade.settings.legacy import current_parameters
from tasks.arcade.settings.run import RunSettings
from tasks.store import queries
from tasks.store.artifacts import ArtifactStore
from tasks.store.errors import StoreError, one_line, raises_store_error
from tasks.store.missing_artifacts import SETTINGS_DIGEST, has_artifacts, local_path
from tasks.store.run_writer import SETTINGS_FILE, settings_digest
from tasks.store.values import RunStatus, StoredRun, TrainedGame

if TYPE_CHECKING:
    from mlflow.entities import Run

EXTERNAL_RUN_FILE = "imported.json"
"""Artifact path of an imported run's metadata."""
IMPORTED = "imported"
"""Tag `ramreel.kind` of an imported run."""


class _UnreadableError(StoreError):
    """The file that describes a run is missing, or was written by another version."""


@dataclass(frozen=True)
class RunReader(ArtifactStore):
    """Reads runs."""

    @raises_store_error
    def run(self, run_id: str) -> StoredRun:
        """Return a run, without its metric histories and artifacts.

        Raises:
            StoreError: the run does not exist, was stopped while it started, has lost its settings, or has settings of
                another version.
        """
        run = self._client.get_run(run_id)
        return self._stored(run, self._settings(run), self._external_run(run))

    def iter_runs(self, run_ids: Iterable[str]) -> Iterator[StoredRun]:
        """Yield runs by id; a run whose settings cannot be read has none, instead of raising as in `run`."""
        return map(self._run_or_unreadable, run_ids)

    @raises_store_error
    def _run_or_unreadable(self, run_id: str) -> StoredRun:
        run = self._client.get_run(run_id)
        try:
            return self._stored(run, self._settings(run), self._external_run(run))
        except _UnreadableError:
            return self._stored(run, None, None)

    def _stored(self, run: Run, settings: RunSettings | None, external: ExternalRun | None) -> StoredRun:
        return StoredRun(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            experiment=self._client.get_experiment(run.info.experiment_id).name,
            status=run.info.status,
            kind=run.data.tags.get("ramreel.kind"),
            params=current_parameters(run.data.params),
            tags=run.data.tags,
            metrics=run.data.metrics,
            settings=settings,
            external=external,
            start_ms=run.info.start_time,
            end_ms=run.info.end_time,
        )

    @raises_store_error
    def exists(self, run_id: str) -> bool:
        """Whether a run exists and is not deleted."""
        return not self.address.is_fresh and bool(queries.runs_referred_to(self._client, run_id))

    @raises_store_error
    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Return all values of a metric as (step, value), by step; of several at one step the one logged last."""
        points = sorted(self._client.get_metric_history(run_id, key), key=lambda point: (point.step, point.timestamp))
        return list({point.step: point.value for point in points}.items())

    @raises_store_error
    def resolve_run(self, reference: str) -> str:
        """Return the id of the run that a reference names, in any experiment.

        Args:
            reference: run id, prefix of one (4 characters or more), run name, or `latest` for the training run
                started last; deleted runs are not found.

        Raises:
            StoreError: no run matches, or more than one.
        """
        found = [] if self.address.is_fresh else queries.runs_referred_to(self._client, reference)
        where = self.address.redacted_uri
        if not found and reference == "latest":
            raise StoreError(f"no training run in {where} yet: `ramreel train ALE/Pong-v5` creates one")
        if not found:
            raise StoreError(
                f"no run {reference!r} in {where}: expected a run id, a prefix of one (4 characters or more), a run "
                "name, or `latest`"
            )
        if len(found) > 1:
            matches = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in found[:3])
            more = ", ..." if len(found) > 3 else ""
            raise StoreError(f"{reference!r} matches several runs: {matches}{more}; give a longer prefix of the run id")
        return str(found[0].info.run_id)

    @raises_store_error
    def runs_named(self, name: str) -> tuple[str, ...]:
        """Return the ids of all runs of a name, the one started last first; empty in a fresh store."""
        return () if self.address.is_fresh else _ids(queries.runs_named(self._client, name))

    @raises_store_error
    def runs_tagged(self, key: str, value: str) -> tuple[str, ...]:
        """Return the ids of all runs with a tag, the one started last first; empty in a fresh store."""
        return self.runs_with({key: value})

    @raises_store_error
    def runs_with(
        self,
        tags: Mapping[str, str | None],
        *,
        status: RunStatus | None = None,
        experiment: str | None = None,
        limit: int | None = None,
    ) -> tuple[str, ...]:
        """Return the ids of the runs with all of some tags, the one started last first; empty in a fresh store.

        Args:
            tags: values by key; None is a tag that a run does not have.
            status: their status (default: any).
            experiment: name of their experiment (default: any).
            limit: maximum number of runs (default: all).
        """
        if self.address.is_fresh:
            return ()
        return _ids(queries.runs_with(self._client, tags, status, experiment, limit))

    @raises_store_error
    def trained_games(self, pattern: str, limit: int) -> dict[str, TrainedGame]:
        """Return the training runs of each game by environment id; empty in a fresh store.

        Args:
            pattern: part of the environment ids, in upper or lower case; empty for all.
            limit: maximum number of runs, those started last.
        """
        if self.address.is_fresh:
            return {}
        means: dict[str, list[float]] = {}
        runs: Counter[str] = Counter()
        for run in queries.training_runs(self._client, pattern, limit):
            env_id, mean = run.data.tags.get("ramreel.env_id", ""), run.data.metrics.get("eval/mean_reward")
            runs[env_id] += 1
            if mean is not None:
                means.setdefault(env_id, []).append(mean)
        return {
            env_id: TrainedGame(runs=n, best_mean_return=max(means.get(env_id, ()), default=None))
            for env_id, n in runs.items()
        }

    def find_run(self, settings: RunSettings, tags: Mapping[str, str]) -> str | None:
        """Return the id of the run with these settings and tags that was started last; None if there is none."""
        # Runs of version 0.1 have no digest.
        for digest in (settings_digest(settings), None):
            for run in self.iter_runs(self.runs_with({**tags, SETTINGS_DIGEST: digest})):
                if run.settings == settings:
                    return run.run_id
        return None

    def _settings(self, run: Run) -> RunSettings | None:
        if "ramreel.seed" not in run.data.tags:
            return None
        run_id, raw = run.info.run_id, self._read_description(run, SETTINGS_FILE)
        try:
            return parse_json(RunSettings, raw)
        except ValueError as error:
            raise _UnreadableError(
                f"the settings of run {run_id} are not readable by this version: {one_line(error)}; use the ramreel "
                "version that created it"
            ) from error

    def _external_run(self, run: Run) -> ExternalRun | None:
        if run.data.tags.get("ramreel.kind") != IMPORTED:
            return None
        raw = self._read_description(run, EXTERNAL_RUN_FILE)
        try:
            return parse_json(ExternalRun, raw)
        except ValueError as error:
            raise _UnreadableError(
                f"{EXTERNAL_RUN_FILE} of run {run.info.run_id} is invalid: {one_line(error)}"
            ) from None

    def _read_description(self, run: Run, path: str) -> bytes:
        """Read the file that describes a run."""
        run_id = run.info.run_id
        with tempfile.TemporaryDirectory() as folder:
            try:
                return self.fetch_artifact(run_id, path, Path(folder)).read_bytes()
            except StoreError:
                if path in (file.path for file in self._client.list_artifacts(run_id)):
                    # It was stored meanwhile, or cannot be read.
                    return self.fetch_artifact(run_id, path, Path(folder)).read_bytes()
        # An import stores its file last, after the settings of a run that can be played.
        if run.info.status == "FINISHED" if path == EXTERNAL_RUN_FILE else has_artifacts(run):
            location = f"{run.info.artifact_uri}/{path}"
            raise _UnreadableError(str(self._missing(run_id, path, local_path(location) or location)))
        raise _UnreadableError(f"run {run_id} is unusable: it was stopped before its {path} was saved")


def _ids(runs: Iterable[Run]) -> tuple[str, ...]:
    # A run that is started meanwhile shifts the pages, and the last run of a page comes again.
    return tuple(dict.fromkeys(str(run.info.run_id) for run in runs))
