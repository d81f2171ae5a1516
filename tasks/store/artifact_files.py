"""Artifact files at any location, listed with their sizes and deleted: on a disk, in a bucket or behind a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from tasks.store.address import Address
from tasks.store.missing_artifacts import local_path
from tasks.store.mlflow_internals import artifact_repository


class ArtifactFile(BaseModel):
    """A file.

    Attributes:
        path: path below the location.
        size: size in bytes.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    size: int


def list_files(address: Address, location: str, folder: str | None = None) -> Iterator[ArtifactFile]:
    """Yield all files below a folder of a location; none if there is no such folder."""
    for entry in artifact_repository(location, address.uri).list_artifacts(folder):
        if entry.is_dir:
            yield from list_files(address, location, entry.path)
        else:
            yield ArtifactFile(path=entry.path, size=int(entry.file_size or 0))


def total_size(address: Address, location: str) -> int:
    """Return the size of all files at a location in bytes."""
    return sum(file.size for file in list_files(address, location))


def delete_files(address: Address, location: str, path: str | None = None) -> None:
    """Delete a file or a folder at a location, by default all of it; one that is missing is skipped."""
    artifact_repository(location, address.uri).delete_artifacts(path)  # type: ignore[no-untyped-call]
    if path is None and (local := local_path(location)) is not None:
        # MLflow leaves the folder of a run or a model, which is named by its id.
        with suppress(OSError):
            local.parent.rmdir()
