"""Artifacts that were stored and no longer exist, told apart from those that were never stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.store.errors import StoreError

if TYPE_CHECKING:
    from mlflow.entities import Run

SETTINGS_DIGEST = "ramreel.settings_digest"
"""Tag with the digest of a run's settings, by which a search finds the run; set once its first artifact is stored."""


class MissingArtifactError(StoreError):
    """An artifact was stored, and its file no longer exists."""


def missing(what: str, place: Path | str) -> MissingArtifactError:
    """Return the error for an artifact that is no longer in its place."""
    return MissingArtifactError(
        f"{what} is missing: there is no {place}, although it was stored there; restore it, for instance from the "
        "folder that the store was copied from"
    )


def has_artifacts(run: Run) -> bool:
    """Return whether artifacts of a training run or an imported one were stored; metrics are logged after the first."""
    return SETTINGS_DIGEST in run.data.tags or bool(run.data.metrics)


def local_path(location: str) -> Path | None:
    """Return the path of an artifact location on a disk of this machine; None for any other location."""
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None
