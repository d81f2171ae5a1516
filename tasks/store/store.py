"""Everything that came of training, in MLflow: where it is kept, and runs with their metrics, written and read."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.arcade.external_runs import ForeignRun
from tasks.arcade.settings.base import parsed
from tasks.arcade.settings.run import RunSettings
from tasks.store import queries as finding
from tasks.store.checkpoints import Checkpoints
from tasks.store.connection import check, find_address, is_fresh
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.lease import Lease
from tasks.store.metric_writer import MetricLog, now_ms, to_metrics
from tasks.store.models import RunStatus, StoredRun, StoreError, flatten, one_line, told_in_one_line
from tasks.store.videos import Videos

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_NOTE = "mlflow.note.content"
"""Tag with a run's description, as MLflow shows it."""
_REASON = "ramreel.reason"
"""Tag with why a run ended, or with what failed of what was made of it since."""
_OWN_REASON = "ramreel.reason.own"
"""Tag with why it ended, while the other one says what failed since."""
_SETTINGS_FILE = "settings.json"
FOREIGN_FILE = "imported.json"
IMPORTED = "imported"
"""The kind of a run from elsewhere."""
_MAX_COMPARED = 240
"""Run ids that fit into one tag of MLflow's, 8,000 characters."""


class _UnreadableError(StoreError):
    """What says of a run what it is was never kept, or is another version's."""


@told_in_one_line
def open_store(tracking_uri: str | None = None) -> Store:
    """The store at an address, found to be usable.

    Nothing is written: an embedded store that is not there yet is made by the first run that is started in it.

    Args:
        tracking_uri: MLflow's tracking address; none: `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the project.

    Raises:
        StoreError: no server answers there, or the folder cannot be written to; found out within seconds.
    """
    address = find_address(tracking_uri)
    check(address)
    return Store(address)


def store_in_use() -> Store:
    """The store that what runs here has opened before: if it is away now, whatever is asked of it waits for it.

    MLflow's client asks a server that does not answer again and again, for about four minutes.
    """
    return Store(find_address(None))


@dataclass(frozen=True)
class Store(Checkpoints, Videos):
    """Everything that came of training. Cheap to make, copy and send to another process; every method asks MLflow.

    Every method raises `StoreError`, one line, when MLflow refuses, cannot be reached any more, or a disk is full.
    """

    @told_in_one_line
    def server_command(self, host: str, port: int) -> list[str]:
        """What starts MLflow's own server, with its UI, over this store.

        Raises:
            StoreError: the store is a server already.
        """
        if self.address.database is None:
            raise StoreError(f"{self.address.shown} is a tracking server already: open it in the browser")
        _ = self._client
        files = ["--backend-store-uri", self.address.uri, "--artifacts-destination", str(self.address.artifacts)]
        return [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1", *files]

    # --- runs, written ---

    @told_in_one_line
    def start_run(
        self,
        settings: RunSettings,
        *,
        name: str,
        command: str,
        versions: Mapping[str, str],
        commit: str | None,
        experiment: str | None = None,
        kind: str = "training",
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Start a run; every setting is a parameter of it, flattened with dots.

        Args:
            settings: the run's settings, also kept as `settings.json`.
            name: the run's name in MLflow.
            command: what was typed.
            versions: versions of the libraries, by package.
            commit: of the program's source; none if unknown.
            experiment: MLflow experiment; none: the environment id.
            kind: the tag `ramreel.kind`.
            tags: more of them.

        Returns:
            MLflow's run id.
        """
        env_id = settings.game.env_id
        all_tags = {
            **origin_tags(kind, command, versions, commit),
            **(tags or {}),
            "ramreel.approach": settings.approach.name,
            "ramreel.env_id": env_id,
            "ramreel.seed": str(settings.seed),
        }
        run_id = create_run(self._client, self.address.artifacts, experiment or env_id, name, all_tags)
        try:
            log_params(self._client, run_id, flatten(settings.model_dump(mode="json")))
            self.log_text(run_id, settings.model_dump_json(indent=2), _SETTINGS_FILE)
        except BaseException as error:
            with contextlib.suppress(Exception):
                self.finish_run(run_id, "FAILED", one_line(error))
            raise
        return run_id

    @told_in_one_line
    def start_comparison(
        self,
        experiment: str,
        name: str,
        runs: Sequence[str],
        *,
        command: str,
        versions: Mapping[str, str],
        commit: str | None,
    ) -> str:
        """Start the run that holds a comparison's figures and report: `start_run` without settings.

        Its tag `ramreel.runs` lists the ids of the runs compared.
        """
        if len(runs) > _MAX_COMPARED:
            raise StoreError(f"{len(runs)} runs are too many for one comparison: at most {_MAX_COMPARED}")
        tags = {**origin_tags("comparison", command, versions, commit), "ramreel.runs": " ".join(runs)}
        return create_run(self._client, self.address.artifacts, experiment, name, tags)

    @told_in_one_line
    def finish_run(self, run_id: str, status: RunStatus, reason: str | None = None) -> None:
        """End a run; the reason becomes the tag `ramreel.reason` and, unless it finished, the run's description.

        What a person wrote as its description stays.
        """
        if reason:
            self._clear_reason(run_id)
            self._say(run_id, reason, describe=status != "FINISHED")
        self._client.set_terminated(run_id, status)

    @told_in_one_line
    def note_failure(self, run_id: str, reason: str) -> None:
        """Say on a run that something made of it failed, and leave its status as it is."""
        tags = self._client.get_run(run_id).data.tags
        if _OWN_REASON not in tags:
            self._client.set_tag(run_id, _OWN_REASON, tags.get(_REASON, ""))
        self._say(run_id, reason, describe=True)

    @told_in_one_line
    def clear_failure(self, run_id: str) -> None:
        """What failed of what is made of a run is made good: it says again how it ended itself, if that was said."""
        run = self._client.get_run(run_id)
        if _OWN_REASON in run.data.tags:
            self._clear_reason(run_id)
            if own := run.data.tags[_OWN_REASON]:
                self._say(run_id, own, describe=run.info.status != "FINISHED")

    def _say(self, run_id: str, reason: str, *, describe: bool) -> None:
        tags = self._client.get_run(run_id).data.tags
        self._client.set_tag(run_id, _REASON, reason)
        if describe and not _described_by_a_person(tags):
            self._client.set_tag(run_id, _NOTE, reason)

    def _clear_reason(self, run_id: str) -> None:
        tags = self._client.get_run(run_id).data.tags
        ours = {_REASON, _OWN_REASON} if _described_by_a_person(tags) else {_REASON, _OWN_REASON, _NOTE}
        for key in ours & tags.keys():
            self._client.delete_tag(run_id, key)

    @told_in_one_line
    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Note something on a run."""
        self._client.set_tag(run_id, key, value)

    @told_in_one_line
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int, model_id: str | None = None) -> None:
        """Write metrics of a run, and of a checkpoint of it, and wait until they are there; what is there stays one.

        Args:
            run_id: the run.
            metrics: values by name; those that are not finite are dropped.
            step: steps of training.
            model_id: the checkpoint's logged model, if the metrics are about one.
        """
        points = to_metrics(metrics, step, now_ms(), model_id)
        self._client.log_batch(run_id, metrics=[self._as_before(run_id, point) for point in points])

    def _as_before(self, run_id: str, point: Metric) -> Metric:
        """The point at the time at which it was written already, if it was and is what holds: to MLflow it is the same.

        One that another value has replaced since is written anew: what is written last holds.
        """
        from mlflow.entities import Metric

        history = self._client.get_metric_history(run_id, point.key)
        before = [old for old in history if old.step == point.step]
        last = max(before, key=lambda old: old.timestamp, default=None)
        when = last.timestamp if last is not None and last.value == point.value else point.timestamp
        return Metric(point.key, point.value, when, point.step, model_id=point.model_id)

    @told_in_one_line
    def metric_log(self, run_id: str) -> MetricLog:
        """For the training loop: the same without waiting, and what is there already is not written again.

        Use it as a context manager.
        """
        logged = {key: self.history(run_id, key)[-1][0] for key in self._client.get_run(run_id).data.metrics}
        return MetricLog(self._client, run_id, logged)

    @told_in_one_line
    def reopen_run(self, run_id: str, settings: RunSettings) -> None:
        """A training goes on: the run is under way again, with these settings."""
        self.continue_run(run_id)
        self.log_text(run_id, settings.model_dump_json(indent=2), _SETTINGS_FILE)

    @told_in_one_line
    def continue_run(self, run_id: str) -> None:
        """Something else than a training goes on: the run is under way again."""
        self._client.update_run(run_id, status="RUNNING")
        self._clear_reason(run_id)

    @told_in_one_line
    def is_there(self, run_id: str) -> bool:
        """Whether there is such a run, and nobody has deleted it."""
        return not is_fresh(self.address) and bool(finding.find_runs(self._client, run_id))

    def lease(self, run_id: str) -> Lease:
        """The right to train a run, as long as the block lasts; nobody else gets it meanwhile."""
        return Lease(self._client, run_id)

    def recording(self, run_id: str) -> Lease:
        """The right to video a run's checkpoints, waited for on entering: none is played twice."""
        return Lease(self._client, run_id, "ramreel.recording", patient=True)

    # --- runs, read ---

    @told_in_one_line
    def run(self, run_id: str) -> StoredRun:
        """All that MLflow has about a run but its histories and files.

        Raises:
            StoreError: there is none, it was stopped while it began, or its settings are another version's.
        """
        run = self._client.get_run(run_id)
        return self._stored(run, self._settings(run), self._foreign(run))

    def scan(self, run_ids: Iterable[str]) -> Iterator[StoredRun]:
        """Runs for whoever looks through many: those that `run` refuses have neither settings nor what is foreign."""
        return map(self._scanned, run_ids)

    @told_in_one_line
    def _scanned(self, run_id: str) -> StoredRun:
        run = self._client.get_run(run_id)
        try:
            return self._stored(run, self._settings(run), self._foreign(run))
        except _UnreadableError:
            return self._stored(run, None, None)

    def _stored(self, run: Run, settings: RunSettings | None, foreign: ForeignRun | None) -> StoredRun:
        return StoredRun(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            experiment=self._client.get_experiment(run.info.experiment_id).name,
            status=run.info.status,
            kind=run.data.tags.get("ramreel.kind"),
            params=run.data.params,
            tags=run.data.tags,
            metrics=run.data.metrics,
            settings=settings,
            foreign=foreign,
            start_ms=run.info.start_time,
            end_ms=run.info.end_time,
        )

    @told_in_one_line
    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """All values of a metric as (step, value), by step; of several at one step the one written last."""
        points = sorted(self._client.get_metric_history(run_id, key), key=lambda point: (point.step, point.timestamp))
        return list({point.step: point.value for point in points}.items())

    @told_in_one_line
    def resolve_run(self, reference: str) -> str:
        """The run that a person means.

        Args:
            reference: a run id, a beginning of one (4 characters or more), a run's name, or `latest`, the training
                run started last; of all experiments, without deleted runs.

        Returns:
            MLflow's run id.

        Raises:
            StoreError: no run is meant, or more than one.
        """
        found = [] if is_fresh(self.address) else finding.find_runs(self._client, reference)
        if not found and reference == "latest":
            raise StoreError(f"no training run in {self.address.shown} yet: `ramreel train ALE/Pong-v5` makes one")
        if not found:
            raise StoreError(
                f"no run {reference!r} in {self.address.shown}: give a run id, its first characters (4 or more), "
                "a run's name, or `latest`"
            )
        if len(found) > 1:
            names = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in found[:3])
            more = ", ..." if len(found) > 3 else ""
            raise StoreError(f"{reference!r} may mean several runs: {names}{more}; give more of the run id")
        return str(found[0].info.run_id)

    @told_in_one_line
    def runs_named(self, name: str) -> tuple[str, ...]:
        """Ids of the runs of this name, the one started last first; none in a store that is not there yet."""
        found = [] if is_fresh(self.address) else finding.runs_named(self._client, name)
        return tuple(str(run.info.run_id) for run in found)

    @told_in_one_line
    def runs_tagged(self, key: str, value: str) -> tuple[str, ...]:
        """Ids of the runs with this tag, the one started last first; none in a store that is not there yet."""
        found = [] if is_fresh(self.address) else finding.runs_tagged(self._client, key, value)
        return tuple(str(run.info.run_id) for run in found)

    def _settings(self, run: Run) -> RunSettings | None:
        if "ramreel.seed" not in run.data.tags:
            return None
        run_id, raw = run.info.run_id, self._described(run, _SETTINGS_FILE)
        try:
            return parsed(RunSettings, raw)
        except ValueError as error:
            raise _UnreadableError(
                f"the settings of run {run_id} are not this version's: {one_line(error)}; use the ramreel that made it"
            ) from error

    def _foreign(self, run: Run) -> ForeignRun | None:
        if run.data.tags.get("ramreel.kind") != IMPORTED:
            return None
        raw = self._described(run, FOREIGN_FILE)
        try:
            return parsed(ForeignRun, raw)
        except ValueError as error:
            raise _UnreadableError(
                f"{FOREIGN_FILE} of run {run.info.run_id} cannot be used: {one_line(error)}"
            ) from None

    def _described(self, run: Run, path: str) -> bytes:
        """What says of a run what it is."""
        run_id = run.info.run_id
        with tempfile.TemporaryDirectory() as folder:
            try:
                return self.fetch_artifact(run_id, path, Path(folder)).read_bytes()
            except StoreError:
                if path in (file.path for file in self._client.list_artifacts(run_id)):
                    raise
        raise _UnreadableError(f"run {run_id} was stopped before its {path} was kept: nothing of it can be used")


def _described_by_a_person(tags: Mapping[str, str]) -> bool:
    return tags.get(_NOTE, "") not in ("", tags.get(_REASON))
