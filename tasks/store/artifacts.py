"""Files that came of a run, kept beside it and brought back: the floor that checkpoints, videos and runs stand on."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.store.connection import Address, connect
from tasks.store.models import StoreError, safe_path, told_in_one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Artifacts:
    """The artifacts of runs, by their paths within the run."""

    address: Address

    @property
    def _client(self) -> MlflowClient:
        return connect(self.address)

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

    @told_in_one_line
    def save_files(self, run_id: str, folder: Path, artifact_path: str | None = None) -> None:
        """Keep all files of a folder, under their own names, as a run's artifacts."""
        self._client.log_artifacts(run_id, str(folder), artifact_path and safe_path(artifact_path))

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
