"""Artifacts of runs, logged and downloaded: the base class of checkpoints, videos and runs in the store."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.store import ui_pages
from tasks.store.address import Address
from tasks.store.artifact_paths import REPORT, safe_path
from tasks.store.connection import connect
from tasks.store.errors import StoreError, raises_store_error, unknown_run
from tasks.store.former_layout import former_path
from tasks.store.missing_artifacts import MissingArtifactError, has_artifacts, local_path, missing

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class ArtifactStore:
    """Artifacts of runs, by their paths within the run."""

    address: Address

    @property
    def _client(self) -> MlflowClient:
        return connect(self.address)

    @raises_store_error
    def log_text(self, run_id: str, text: str, artifact_path: str) -> None:
        """Log text as an artifact."""
        self._client.log_text(run_id, text, safe_path(artifact_path))

    @raises_store_error
    def log_bytes(self, run_id: str, data: bytes, artifact_path: str) -> None:
        """Log bytes as an artifact."""
        folder, _, name = safe_path(artifact_path).rpartition("/")
        with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
            path = Path(temporary) / name
            path.write_bytes(data)
            self._client.log_artifact(run_id, str(path), folder or None)

    def log_report(self, run_id: str, html: str, markdown: str) -> None:
        """Log a report as `reports/report.html` and `reports/report.md`."""
        self.log_text(run_id, html, REPORT)
        self.log_text(run_id, markdown, "reports/report.md")

    @raises_store_error
    def log_artifacts(self, run_id: str, folder: Path, artifact_path: str | None = None) -> None:
        """Log all files of a local folder, by default at the root of the run's artifacts."""
        self._client.log_artifacts(run_id, str(folder), artifact_path and safe_path(artifact_path))

    def _files(self, run_id: str, folder: str) -> list[str]:
        """List the files of a folder, and before them those of its former name.

        Raises:
            MissingArtifactError: the folder of all artifacts of the run no longer exists.
        """
        folders = dict.fromkeys((former_path(folder), folder))
        files = [file for name in folders for file in self._client.list_artifacts(run_id, name)]
        if not files:
            self._require_artifacts(run_id)
        # An empty file is a discarded evaluation (`discard_evaluation`).
        return [file.path for file in files if file.file_size != 0]

    def _folders(self, run_id: str, folder: str) -> list[str]:
        """List the folders of a folder."""
        return [file.path for file in self._client.list_artifacts(run_id, folder) if file.is_dir]

    def _require_artifacts(self, run_id: str) -> None:
        if self.address.database is not None:
            run = self._client.get_run(run_id)
            folder = local_path(run.info.artifact_uri)
            if folder is not None and not folder.exists() and has_artifacts(run):
                raise self._missing(run_id, "the folder of the artifacts", folder)

    def _missing(self, run_id: str, what: str, place: Path | str) -> MissingArtifactError:
        # `mlflow gc` deletes a deleted run's files before the run itself.
        if self._client.get_run(run_id).info.lifecycle_stage == "deleted":
            return MissingArtifactError(unknown_run(run_id))
        return missing(f"{what} of run {run_id}", place)

    @raises_store_error
    def fetch_artifact(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """Download an artifact, a file or a folder, and return its local path within `into`.

        Raises:
            MissingArtifactError: there is no such file in a local store.
        """
        safe_path(artifact_path)
        self._check_local_file(run_id, artifact_path)
        into.mkdir(parents=True, exist_ok=True)
        return Path(self._client.download_artifacts(run_id, artifact_path, str(into)))

    @raises_store_error
    def artifact_file(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """Return a file with the content of an artifact: the store's own on this machine, else one within `into`.

        Raises:
            MissingArtifactError: there is no such file in a local store.
        """
        folder = local_path(self.artifact_uri(run_id))
        if folder is None:
            return self.fetch_artifact(run_id, artifact_path, into)
        self._check_local_file(run_id, safe_path(artifact_path))
        return folder / artifact_path

    @raises_store_error
    def files_in(self, run_id: str, folder: str) -> tuple[str, ...]:
        """Return the artifact paths of the files in a folder of a run; empty if there is no such folder."""
        return tuple(file.path for file in self._client.list_artifacts(run_id, safe_path(folder)) if not file.is_dir)

    def _check_local_file(self, run_id: str, artifact_path: str) -> None:
        """Raise StoreError for a file that a local store does not have, or for a link that leads out of the run.

        The target of such a link would enter a report.
        """
        folder = local_path(self.artifact_uri(run_id))
        if folder is None:
            return
        root = folder.resolve()
        if not (root / artifact_path).resolve().is_relative_to(root):
            raise StoreError(f"{artifact_path!r} of run {run_id} is a link that leads out of the run")
        if not (folder / artifact_path).exists():
            raise self._missing(run_id, artifact_path, folder / artifact_path)

    @raises_store_error
    def artifact_uri(self, run_id: str, artifact_path: str | None = None) -> str:
        """Return the URI of an artifact, or of all artifacts of a run: a file's path in the embedded store."""
        root = str(self._client.get_run(run_id).info.artifact_uri)
        return f"{root}/{safe_path(artifact_path)}" if artifact_path else root

    @raises_store_error
    def ui_path(self, run_id: str, artifact_path: str | None = None) -> str:
        """Return the path of a run's page in MLflow's UI, or of an artifact's, relative to the server's address."""
        experiment = str(self._client.get_run(run_id).info.experiment_id)
        return ui_pages.run_page(experiment, run_id, artifact_path and safe_path(artifact_path))

    @raises_store_error
    def run_list_ui_path(self, run_id: str) -> str:
        """Return the path of the run list that a run is in, in MLflow's UI, relative to the server's address."""
        return ui_pages.run_list_page(str(self._client.get_run(run_id).info.experiment_id))
