"""Runs, checkpoints, films and reports, written and read through MLflow."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from tasks.arcade.evaluation import Evaluation
from tasks.arcade.foreign import ForeignRun
from tasks.arcade.settings import SCHEMA, RunSettings, parsed
from tasks.store import finding
from tasks.store.address import Address, check, connect, find_address, is_fresh
from tasks.store.lease import Lease
from tasks.store.metrics import MetricLog, now_ms, to_metrics
from tasks.store.starting import create_run, log_params, origin_tags
from tasks.store.values import (
    Film,
    RunStatus,
    StoredCheckpoint,
    StoredRun,
    StoreError,
    evaluated_steps,
    flatten,
    one_line,
    pair_episodes,
    pair_films,
    safe_path,
    step_name,
    told_in_one_line,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Metric

_SETTINGS_FILE = "settings.json"
FOREIGN_FILE = "imported.json"
IMPORTED = "imported"
"""The kind of a run from elsewhere."""
_EVALUATIONS = "evaluations"
_FILMS = "films"
_MAX_COMPARED = 240
"""Run ids that fit into one tag of MLflow's, 8,000 characters."""


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
class Store:
    """Everything that came of training. Cheap to make, copy and send to another process; every method asks MLflow.

    Every method raises `StoreError`, one line, when MLflow refuses, cannot be reached any more, or a disk is full.
    """

    address: Address

    @property
    def _client(self) -> MlflowClient:
        return connect(self.address)

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
        """End a run; the reason becomes the tag `ramreel.reason` and, unless it finished, the run's description."""
        if reason:
            self._client.set_tag(run_id, "ramreel.reason", reason)
            if status != "FINISHED":
                self._client.set_tag(run_id, "mlflow.note.content", reason)
        self._client.set_terminated(run_id, status)

    @told_in_one_line
    def note_failure(self, run_id: str, reason: str) -> None:
        """Say on a run that something made of it failed, and leave its status as it is."""
        self._client.set_tag(run_id, "ramreel.reason", reason)
        self._client.set_tag(run_id, "mlflow.note.content", reason)

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
        """The point at the time at which it was written already, if it was: to MLflow that is the same point."""
        from mlflow.entities import Metric

        history = self._client.get_metric_history(run_id, point.key)
        times = [old.timestamp for old in history if (old.step, old.value) == (point.step, point.value)]
        when = min(times, default=point.timestamp)
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
        self._client.update_run(run_id, status="RUNNING")
        if "ramreel.reason" in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, "ramreel.reason")
        self.log_text(run_id, settings.model_dump_json(indent=2), _SETTINGS_FILE)

    @told_in_one_line
    def continue_run(self, run_id: str) -> None:
        """Something else than a training goes on: the run is under way again."""
        self._client.update_run(run_id, status="RUNNING")

    @told_in_one_line
    def is_there(self, run_id: str) -> bool:
        """Whether there is such a run, and nobody has deleted it."""
        return not is_fresh(self.address) and bool(finding.find_runs(self._client, run_id))

    def lease(self, run_id: str) -> Lease:
        """The right to train a run, as long as the block lasts; nobody else gets it meanwhile."""
        return Lease(self._client, run_id)

    def filming(self, run_id: str) -> Lease:
        """The right to film a run's checkpoints, waited for on entering: none is played twice."""
        return Lease(self._client, run_id, "ramreel.filming", patient=True)

    @told_in_one_line
    def log_text(self, run_id: str, text: str, artifact_path: str) -> None:
        """Keep a text as an artifact."""
        self._client.log_text(run_id, text, safe_path(artifact_path))

    @told_in_one_line
    def log_bytes(self, run_id: str, data: bytes, artifact_path: str) -> None:
        """Keep bytes as an artifact."""
        folder, _, name = safe_path(artifact_path).rpartition("/")
        with tempfile.TemporaryDirectory(prefix="ramreel-") as here:
            (Path(here) / name).write_bytes(data)
            self._client.log_artifact(run_id, str(Path(here) / name), folder or None)

    def log_report(self, run_id: str, html: str, markdown: str) -> None:
        """Keep a report as `reports/report.html` and `reports/report.md`."""
        self.log_text(run_id, html, "reports/report.html")
        self.log_text(run_id, markdown, "reports/report.md")

    # --- checkpoints ---

    @told_in_one_line
    def save_checkpoint(
        self,
        run_id: str,
        step: int,
        directory: Path,
        digest: str,
        *,
        params: Mapping[str, str] | None = None,
        training: Path | None = None,
    ) -> str:
        """Keep a checkpoint as one logged model of MLflow; it is listed only once it is whole.

        Args:
            run_id: the run.
            step: steps of training behind it.
            directory: what playing needs; uploaded as it is.
            digest: SHA-256 of its manifest, in hex.
            params: parameters to show beside the model.
            training: a folder with what going on needs, kept as the run's `checkpoints/step-000250000/`.

        Returns:
            The logged model's id.
        """
        from mlflow.entities import LoggedModelOutput

        for folder in (directory, training):
            _refuse_empty(folder)
        client = self._client
        model_id = client.create_logged_model(
            experiment_id=client.get_run(run_id).info.experiment_id,
            name=step_name(step),
            source_run_id=run_id,
            tags={"ramreel.step": str(step), "ramreel.digest": digest, "ramreel.schema": str(SCHEMA)},
            params=dict(params or {}),
            model_type="ramreel-checkpoint",
        ).model_id
        try:
            client.log_model_artifacts(model_id, str(directory))
            if training is not None:
                client.log_artifacts(run_id, str(training), _training_path(step))
            client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
            client.finalize_logged_model(model_id, "READY")
        except BaseException:
            with contextlib.suppress(Exception):
                client.finalize_logged_model(model_id, "FAILED")
            raise
        return model_id

    @told_in_one_line
    def list_checkpoints(self, run_id: str) -> tuple[StoredCheckpoint, ...]:
        """The whole checkpoints of a run, by step; of several at one step the newest."""
        experiment = self._client.get_run(run_id).info.experiment_id
        models = finding.pages(
            lambda token: self._client.search_logged_models(
                [experiment],
                f"source_run_id = '{run_id}'",
                max_results=finding.PAGE,
                order_by=[{"field_name": "creation_timestamp", "ascending": True}],
                page_token=token,
            )
        )
        by_step = {stored.step: stored for model in models if (stored := _stored_checkpoint(run_id, model))}
        return tuple(by_step[step] for step in sorted(by_step))

    def checkpoints_at(self, run_id: str, steps: Sequence[int] | None = None) -> tuple[StoredCheckpoint, ...]:
        """The run's checkpoints at these steps, or all of them.

        Raises:
            StoreError: the run has none, or none at one of the steps.
        """
        stored = self.list_checkpoints(run_id)
        if not stored:
            raise StoreError(f"run {run_id} has no checkpoint: `ramreel train ENV` makes runs that have some")
        if steps is None:
            return stored
        by_step = {checkpoint.step: checkpoint for checkpoint in stored}
        if missing := [step for step in steps if step not in by_step]:
            there = ", ".join(map(str, by_step))
            raise StoreError(f"run {run_id} has no checkpoint at step {missing[0]}: there are {there}")
        return tuple(by_step[step] for step in sorted(set(steps)))

    @told_in_one_line
    def fetch_checkpoint(self, stored: StoredCheckpoint, into: Path) -> Path:
        """Bring what playing needs onto this machine; returns the folder, within `into`, that holds the files.

        Several may be fetched into one folder: each has a folder of its own in it.
        """
        from mlflow.artifacts import download_artifacts

        location = self._client.get_logged_model(stored.model_id).artifact_location
        folder = str(into / stored.model_id)
        return Path(download_artifacts(location, dst_path=folder, tracking_uri=self.address.uri))

    def fetch_training(self, stored: StoredCheckpoint, into: Path) -> Path:
        """Bring what going on needs onto this machine; returns the folder, within `into`, that holds the files."""
        return self.fetch_artifact(stored.run_id, _training_path(stored.step), into / stored.model_id)

    # --- films and other artifacts ---

    @told_in_one_line
    def save_film(
        self,
        run_id: str,
        step: int,
        mp4: Path,
        trace: Path,
        *,
        episode: str | None = None,
    ) -> Film:
        """Keep a film and its trace; one at the same step is replaced.

        Args:
            run_id: the run.
            step: of the checkpoint filmed.
            mp4: the film, under whatever name.
            trace: its trace, likewise.
            episode: the name of one episode's film, where it is not the checkpoint's film.
        """
        folder, name = (f"{_FILMS}/{step_name(step)}", episode) if episode else (_FILMS, step_name(step))
        film = Film(
            step=step,
            mp4=f"{folder}/{name}.mp4",
            trace=f"{folder}/{name}.trace.json",
        )
        files = {film.trace: trace, film.mp4: mp4}
        # MLflow keeps a file under its own name; the link gives it the right one without a copy.
        with tempfile.TemporaryDirectory() as links:
            for path, source in files.items():
                link = Path(links) / Path(path).name
                link.unlink(missing_ok=True)
                link.symlink_to(source.absolute())
                self._client.log_artifact(run_id, str(link), str(Path(path).parent))
        return film

    @told_in_one_line
    def save_files(self, run_id: str, folder: Path, artifact_path: str | None = None) -> None:
        """Keep all files of a folder, under their own names, as a run's artifacts."""
        self._client.log_artifacts(run_id, str(folder), artifact_path and safe_path(artifact_path))

    @told_in_one_line
    def films(self, run_id: str) -> dict[int, Film]:
        """The checkpoints' films of a run by step, in rising order: only those whose trace is there as well."""
        return pair_films(self._files(run_id, _FILMS))

    @told_in_one_line
    def episode_films(self, run_id: str, step: int) -> list[Film]:
        """The films of single episodes of a checkpoint, beside its film; none unless all were asked for."""
        return pair_episodes(step, self._files(run_id, f"{_FILMS}/{step_name(step)}"))

    def _files(self, run_id: str, folder: str) -> list[str]:
        # A file without content was taken back (`retract_evaluation`).
        return [file.path for file in self._client.list_artifacts(run_id, folder) if file.file_size != 0]

    @told_in_one_line
    def fetch_artifact(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """Bring an artifact, a file or a folder, onto this machine; returns where, within `into`, it is."""
        safe_path(artifact_path)
        self._refuse_link(run_id, artifact_path)
        into.mkdir(parents=True, exist_ok=True)
        return Path(self._client.download_artifacts(run_id, artifact_path, str(into)))

    def _refuse_link(self, run_id: str, artifact_path: str) -> None:
        """In a store of files a stranger's link could lead anywhere, and what it leads to into a report."""
        location = urlsplit(self.artifact_uri(run_id))
        root = Path(unquote(location.path)).resolve()
        if location.scheme == "file" and not (root / artifact_path).resolve().is_relative_to(root):
            raise StoreError(f"{artifact_path!r} of run {run_id} leads out of the run: it is a link")

    @told_in_one_line
    def artifact_uri(self, run_id: str, artifact_path: str | None = None) -> str:
        """Where an artifact, or all of a run's, lies, to be shown to a person: a file's path in the embedded store."""
        root = str(self._client.get_run(run_id).info.artifact_uri)
        return f"{root}/{safe_path(artifact_path)}" if artifact_path else root

    @told_in_one_line
    def page(self, run_id: str, artifact_path: str | None = None) -> str:
        """The page of a run, or of an artifact of it, in MLflow's UI: what follows the server's address."""
        experiment = self._client.get_run(run_id).info.experiment_id
        page = f"/#/experiments/{experiment}/runs/{run_id}"
        return f"{page}/artifacts/{safe_path(artifact_path)}" if artifact_path else page

    def save_evaluation(self, run_id: str, evaluation: Evaluation) -> None:
        """Keep every episode of a checkpoint's evaluation; one at the same step is replaced."""
        self.log_text(run_id, evaluation.model_dump_json(indent=2), _evaluation_path(evaluation.step))

    def retract_evaluation(self, run_id: str, step: int) -> None:
        """A checkpoint counts as neither evaluated nor filmed, until its next evaluation is kept."""
        if step in self.evaluations(run_id):
            # Whoever may write may replace; not everybody may delete.
            self.log_text(run_id, "", _evaluation_path(step))

    @told_in_one_line
    def evaluations(self, run_id: str) -> tuple[int, ...]:
        """Steps of the checkpoints that have been evaluated, in rising order."""
        return evaluated_steps(self._files(run_id, _EVALUATIONS))

    def whole_films(self, run_id: str) -> dict[int, Film]:
        """The films of a run by step, in rising order: those that are there with all that belongs to them.

        A film that was being written when its process was killed, or its disk was full, is none of them: the
        evaluation, which is kept last, is not there.
        """
        films, evaluated = self.films(run_id), self.evaluations(run_id)
        return {step: film for step, film in films.items() if step in evaluated}

    def fetch_evaluation(self, run_id: str, step: int) -> Evaluation:
        """A checkpoint's evaluation.

        Raises:
            StoreError: there is none, or what is there is not an evaluation.
        """
        path = _evaluation_path(step)
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            text = self.fetch_artifact(run_id, path, Path(folder)).read_text("utf-8")
        return _evaluation(run_id, step, text)

    def fetch_evaluations(self, run_id: str) -> tuple[Evaluation, ...]:
        """All evaluations of a run by step, brought here at once.

        Raises:
            StoreError: what is there is not an evaluation.
        """
        steps = self.evaluations(run_id)
        if not steps:
            return ()
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            here = self.fetch_artifact(run_id, _EVALUATIONS, Path(folder))
            texts = [(here / f"{step_name(step)}.json").read_text("utf-8") for step in steps]
        return tuple(_evaluation(run_id, step, text) for step, text in zip(steps, texts, strict=True))

    # --- runs, read ---

    @told_in_one_line
    def run(self, run_id: str) -> StoredRun:
        """All that MLflow has about a run but its histories and files."""
        run = self._client.get_run(run_id)
        return StoredRun(
            run_id=run.info.run_id,
            name=run.info.run_name or "",
            experiment=self._client.get_experiment(run.info.experiment_id).name,
            status=run.info.status,
            kind=run.data.tags.get("ramreel.kind"),
            params=run.data.params,
            tags=run.data.tags,
            metrics=run.data.metrics,
            settings=self._settings(run_id) if "ramreel.seed" in run.data.tags else None,
            foreign=self._foreign(run_id) if run.data.tags.get("ramreel.kind") == IMPORTED else None,
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

    @told_in_one_line
    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Note something on a run."""
        self._client.set_tag(run_id, key, value)

    def _settings(self, run_id: str) -> RunSettings:
        with tempfile.TemporaryDirectory() as folder:
            text = self.fetch_artifact(run_id, _SETTINGS_FILE, Path(folder)).read_text("utf-8")
        try:
            return RunSettings.model_validate_json(text)
        except ValidationError as error:
            raise StoreError(
                f"the settings of run {run_id} are not this version's: {one_line(error)}; use the ramreel that made it"
            ) from error

    def _foreign(self, run_id: str) -> ForeignRun:
        with tempfile.TemporaryDirectory() as folder:
            raw = self.fetch_artifact(run_id, FOREIGN_FILE, Path(folder)).read_bytes()
        try:
            return parsed(ForeignRun, raw)
        except ValueError as error:
            raise StoreError(f"{FOREIGN_FILE} of run {run_id} cannot be used: {one_line(error)}") from None


def _evaluation(run_id: str, step: int, text: str) -> Evaluation:
    try:
        return Evaluation.model_validate_json(text)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise StoreError(f"{_evaluation_path(step)} of run {run_id} is no evaluation: {said}") from None


def _refuse_empty(folder: Path | None) -> None:
    # MLflow uploads nothing from a folder that is not there, and says nothing.
    if folder is not None and not any(folder.iterdir()):
        raise StoreError(f"{folder} is empty: there is no checkpoint in it")


def _training_path(step: int) -> str:
    return f"checkpoints/{step_name(step)}"


def _evaluation_path(step: int) -> str:
    return f"{_EVALUATIONS}/{step_name(step)}.json"


def _stored_checkpoint(run_id: str, model: LoggedModel) -> StoredCheckpoint | None:
    step, digest = model.tags.get("ramreel.step"), model.tags.get("ramreel.digest")
    if str(model.status) != "READY" or step is None or digest is None:
        return None
    return StoredCheckpoint(run_id=run_id, step=int(step), model_id=model.model_id, digest=digest)
