"""Runs written: started, finished, their reasons, tags and metrics."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.arcade.settings.run import RunSettings
from tasks.store import mlflow_internals
from tasks.store.artifacts import ArtifactStore
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.errors import one_line, raises_store_error
from tasks.store.metric_writer import MetricWriter, now_ms, to_metrics
from tasks.store.missing_artifacts import SETTINGS_DIGEST
from tasks.store.values import DESCRIPTION_TAG, RunStatus, flatten

if TYPE_CHECKING:
    from mlflow.entities import Metric

SETTINGS_FILE = "settings.json"
"""Artifact path of a run's settings."""
_WRITTEN_DESCRIPTION = "ramreel.description"
"""Tag with the digest of the description as it was written last: a run with another one was described by a user."""
_REASON = "ramreel.reason"
"""Tag of the reason why a run ended, or of a later failure, such as of a video of it."""
_OWN_REASON = "ramreel.reason.own"
"""Tag of the reason why a run ended, while `ramreel.reason` holds a later failure."""


@dataclass(frozen=True)
class RunWriter(ArtifactStore):
    """Writes runs."""

    @raises_store_error
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
        """Start a run and log its settings, as `settings.json` and as parameters flattened with dots.

        Args:
            settings: settings of the run.
            name: run name in MLflow.
            command: command line.
            versions: library versions, by package.
            commit: commit of ramreel's source; None if unknown.
            experiment: MLflow experiment (default: the environment id).
            kind: tag `ramreel.kind`.
            tags: further tags.

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
            self._log_settings(run_id, settings)
        except BaseException as error:
            with contextlib.suppress(Exception):
                self.finish_run(run_id, "FAILED", one_line(error))
            raise
        return run_id

    @raises_store_error
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
        """Start the run of a comparison; its tag `ramreel.runs` lists the ids of the compared runs.

        Returns:
            MLflow's run id.
        """
        tags = {**origin_tags("comparison", command, versions, commit), "ramreel.runs": " ".join(runs)}
        return create_run(self._client, self.address.artifacts, experiment, name, tags)

    @raises_store_error
    def resume_run(self, run_id: str, settings: RunSettings) -> None:
        """Set a training run to RUNNING and replace its settings, which may have more steps."""
        self.mark_running(run_id)
        self._log_settings(run_id, settings)

    def _log_settings(self, run_id: str, settings: RunSettings) -> None:
        self.log_text(run_id, settings.model_dump_json(indent=2), SETTINGS_FILE)
        self.set_tag(run_id, SETTINGS_DIGEST, settings_digest(settings))

    @raises_store_error
    def mark_running(self, run_id: str) -> None:
        """Set a run to RUNNING and delete the reason why it ended."""
        self._client.update_run(run_id, status="RUNNING")
        self._delete_reason(run_id)

    @raises_store_error
    def finish_run(self, run_id: str, status: RunStatus, reason: str | None = None) -> None:
        """End a run; the reason becomes the tag `ramreel.reason` and, unless it finished, the run's description.

        A description that a user wrote is kept. That of a training run says how to resume it.
        """
        if reason:
            self._delete_reason(run_id)
            self._set_reason(run_id, reason)
            if status != "FINISHED":
                self._describe_end(run_id, reason)
        self._client.set_terminated(run_id, status)

    @raises_store_error
    def set_failure_reason(self, run_id: str, reason: str) -> None:
        """Set the reason of a later failure, such as of a video of the run, without changing the run's status."""
        tags = self._client.get_run(run_id).data.tags
        if _OWN_REASON not in tags:
            self._client.set_tag(run_id, _OWN_REASON, tags.get(_REASON, ""))
        self._set_reason(run_id, reason)
        self.set_description(run_id, reason)

    @raises_store_error
    def clear_failure_reason(self, run_id: str) -> None:
        """Delete the reason of a later failure and restore the reason why the run ended, if it had one."""
        run = self._client.get_run(run_id)
        if _OWN_REASON in run.data.tags:
            self._delete_reason(run_id)
            if own_reason := run.data.tags[_OWN_REASON]:
                self._set_reason(run_id, own_reason)
                if run.info.status != "FINISHED":
                    self._describe_end(run_id, own_reason)

    def _set_reason(self, run_id: str, reason: str) -> None:
        self._client.set_tag(run_id, _REASON, reason)

    def _describe_end(self, run_id: str, reason: str) -> None:
        training = self._client.get_run(run_id).data.tags.get("ramreel.kind") == "training"
        self.set_description(run_id, f"{reason}\n\n{resume_hint(run_id)}" if training else reason)

    def _delete_reason(self, run_id: str) -> None:
        tags = self._client.get_run(run_id).data.tags
        described = () if _is_described_by_user(tags) else (DESCRIPTION_TAG, _WRITTEN_DESCRIPTION)
        # The description before the tag that tells whose it is: in between, it is nobody's.
        for key in (*described, _REASON, _OWN_REASON):
            if key in tags:
                self._client.delete_tag(run_id, key)

    @raises_store_error
    def set_description(self, run_id: str, text: str) -> None:
        """Set the description of a run in MLflow's UI, in Markdown; one that a user wrote is kept."""
        from mlflow.entities import RunTag

        if not _is_described_by_user(self._client.get_run(run_id).data.tags):
            tags = {DESCRIPTION_TAG: text, _WRITTEN_DESCRIPTION: _digest(text)}
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    @raises_store_error
    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        self._client.set_tag(run_id, key, value)

    @raises_store_error
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int, model_id: str | None = None) -> None:
        """Log metrics of a run, and of a checkpoint of it, synchronously; logging a value again adds no point.

        Args:
            run_id: MLflow's run id.
            metrics: values by name; non-finite ones are dropped.
            step: environment steps trained.
            model_id: logged model of the checkpoint that the metrics belong to.
        """
        points = to_metrics(metrics, step, now_ms(), model_id)
        self._client.log_batch(run_id, metrics=[self._with_logged_time(run_id, point) for point in points])

    def _with_logged_time(self, run_id: str, point: Metric) -> Metric:
        """Return a point with the timestamp of the same point if it is the latest at its step.

        To MLflow points with equal timestamps are one. A value that another one has replaced since gets a new
        timestamp, because the latest one at a step counts; also if the clock of this machine is behind.
        """
        from mlflow.entities import Metric

        history = self._client.get_metric_history(run_id, point.key)
        logged = [other for other in history if other.step == point.step]
        last = max(logged, key=lambda other: other.timestamp, default=None)
        timestamp = point.timestamp
        if last is not None:
            timestamp = last.timestamp if last.value == point.value else max(timestamp, last.timestamp + 1)
        return Metric(point.key, point.value, timestamp, point.step, model_id=point.model_id)

    @raises_store_error
    def metric_writer(self, run_id: str) -> MetricWriter:
        """Return a context manager that logs a run's metrics in the background and skips those logged before."""
        # Not from the histories, which a long run has thousands of points in.
        latest = mlflow_internals.latest_points(self._client.get_run(run_id))
        return MetricWriter(self._client, run_id, {key: step for key, (step, _) in latest.items()})


def settings_digest(settings: RunSettings) -> str:
    """Return the SHA-256 of settings, in hex."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()


def _is_described_by_user(tags: Mapping[str, str]) -> bool:
    text = tags.get(DESCRIPTION_TAG, "")
    # Version 0.1 described runs by their reason only.
    return text not in ("", tags.get(_REASON)) and _digest(text) != tags.get(_WRITTEN_DESCRIPTION)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def resume_hint(run_id: str) -> str:
    """Return the line of a description that says how to resume a training run."""
    return f"Resume: `ramreel train --resume {run_id[:8]}`"
