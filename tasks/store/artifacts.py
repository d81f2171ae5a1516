"""Artifacts of runs, logged and downloaded: the base class of checkpoints, videos and runs in the store."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.store.address import Address
from tasks.store.artifact_paths import REPORT, safe_path
from tasks.store.connection import connect
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.former_layout import former_path

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
        """List the files of a folder, and before them those of its former name."""
        folders = dict.fromkeys((former_path(folder), folder))
        files = [file for name in folders for file in self._client.list_artifacts(run_id, name)]
        # An empty file is a discarded evaluation (`discard_evaluation`).
        return [file.path for file in files if file.file_size != 0]

    @raises_store_error
    def fetch_artifact(self, run_id: str, artifact_path: str, into: Path) -> Path:
        """Download an artifact, a file or a folder, and return its local path within `into`."""
        safe_path(artifact_path)
        self._refuse_link(run_id, artifact_path)
        into.mkdir(parents=True, exist_ok=True)
        return Path(self._client.download_artifacts(run_id, artifact_path, str(into)))

    def _refuse_link(self, run_id: str, artifact_path: str) -> None:
        """Raise StoreError for a link in a local store that leads out of the run: its target would enter a report."""
        location = urlsplit(self.artifact_uri(run_id))
        root = Path(unquote(location.path)).resolve()
        if location.scheme == "file" and not (root / artifact_path).resolve().is_relative_to(root):
            raise StoreError(f"{artifact_path!r} of run {run_id} is a link that leads out of the run")

    @raises_store_error
    def artifact_uri(self, run_id: str, artifact_path: str | None = None) -> str:
        """Return the URI of an artifact, or of all artifacts of a run: a file's path in the embedded store."""
        root = str(self._client.get_run(run_id).info.artifact_uri)
        return f"{root}/{safe_path(artifact_path)}" if artifact_path else root

    @raises_store_error
    def ui_path(self, run_id: str, artifact_path: str | None = None) -> str:
        """Return the path of a run's page in MLflow's UI, or of an artifact's, relative to the server's address."""
        experiment = self._client.get_run(run_id).info.experiment_id
        page = f"/#/experiments/{experiment}/runs/{run_id}"
        return f"{page}/artifacts/{safe_path(artifact_path)}" if artifact_path else page
