"""Backups of the embedded store in use: one tar file with consistent copies of its databases, then its artifacts.

The databases are copied first. An artifact is stored before the database refers to it, and none is deleted meanwhile,
so everything that the copies refer to is in the file.
"""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from tasks.arcade.atomic_write import atomic_file
from tasks.arcade.settings.base import Settings, parse_json
from tasks.store.address import Address
from tasks.store.artifact_lock import artifacts_lock
from tasks.store.database_files import copy_database
from tasks.store.errors import StoreError, one_line, raises_store_error
from tasks.store.migration import is_older

_SCHEMA = 1
_MANIFEST, _END = "backup.json", "end"
"""First and last member: a file without the last one was cut off."""
_DATABASES = ("mlflow.db", "prefect.db", "optuna.db", "mlflow-users.db")
_ARTIFACTS = "artifacts"
_COMPRESSIONS = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}
_RESERVE = 64 * 1024**2
"""Bytes that stay free on the disk beside a backup or a restored store."""
_SETTLE_SECONDS = 1.0


class BackupManifest(Settings):
    """Description of a backup.

    Attributes:
        schema_version: schema version of the file.
        created: when the databases were copied.
        versions: versions of the packages that wrote it.
        databases: names of the databases in it.
        size: size of its files in bytes.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: int = Field(default=_SCHEMA, alias="schema", le=_SCHEMA)
    created: datetime
    versions: Mapping[str, str]
    databases: tuple[str, ...]
    size: int


@raises_store_error
def write_backup(address: Address, target: Path, versions: Mapping[str, str]) -> BackupManifest:
    """Write a backup of a store that other processes may be using.

    Args:
        address: the store.
        target: file to write; it appears once it is complete. Compressed if its suffix is .gz, .tgz, .bz2 or .xz.
        versions: versions of the packages of this environment.

    Raises:
        StoreError: the store is not an embedded one or is empty, a database is damaged, or the disk is too full.
    """
    database = _embedded(address)
    if address.is_fresh:
        raise StoreError(f"{database} does not exist: there is nothing to back up")
    with (
        artifacts_lock(address),
        tempfile.TemporaryDirectory(prefix=".backup-", dir=database.parent) as folder,
    ):
        copies = _copy_databases(database, Path(folder))
        artifacts = [path for path in (database.parent / _ARTIFACTS).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in (*copies, *artifacts))
        _require_space(target.parent, size)
        manifest = BackupManifest(
            created=datetime.now(UTC), versions=versions, databases=tuple(copy.name for copy in copies), size=size
        )
        members = {copy.name: copy for copy in copies}
        members |= {path.relative_to(database.parent).as_posix(): path for path in artifacts}
        with atomic_file(target) as unfinished:
            _write(unfinished, target.suffix, manifest, members)
    return manifest


def _embedded(address: Address) -> Path:
    if address.database is None or address.database.name != _DATABASES[0]:
        raise StoreError(
            f"{address.redacted_uri} is not an embedded store: back up its database and its artifacts with their own "
            "tools"
        )
    return address.database


def _copy_databases(database: Path, folder: Path) -> tuple[Path, ...]:
    copies = []
    for name in _DATABASES:
        source = database.with_name(name)
        if source.exists():
            copy_database(source, folder / name)
            copies.append(folder / name)
    return tuple(copies)


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _RESERVE:
        raise StoreError(f"{folder} has {free / 10**6:,.0f} MB free, {(size + _RESERVE) / 10**6:,.0f} MB are needed")


def _write(file: Path, suffix: str, manifest: BackupManifest, members: Mapping[str, Path]) -> None:
    mode: Any = f"w:{_COMPRESSIONS.get(suffix, '')}"
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name, tarfile.open(file, mode) as archive:
        first, last = Path(name) / _MANIFEST, Path(name) / _END
        first.write_text(manifest.model_dump_json(indent=2), "utf-8")
        last.touch()
        archive.add(first, _MANIFEST)
        for path, source in members.items():
            # A file that was deleted meanwhile was a temporary one.
            with suppress(FileNotFoundError):
                _wait_until_written(source)
                archive.add(source, path, recursive=False)
        archive.add(last, _END)


def _wait_until_written(source: Path) -> None:
    """Wait until a file has not been modified for a moment; a modification time in the future is ignored."""
    while 0 <= (age := time.time() - source.stat().st_mtime) < _SETTLE_SECONDS:
        time.sleep(_SETTLE_SECONDS - age)


@raises_store_error
def restore_backup(source: Path, address: Address) -> BackupManifest:
    """Restore a backup into a place without a store; the store appears once it is complete.

    Raises:
        StoreError: the file is not a whole backup or one of a newer version, there is a store already, or the disk is
            too full.
    """
    database = _embedded(address)
    if existing := [path for path in _places(database) if path.exists() and not _is_empty(path)]:
        raise StoreError(
            f"{existing[0]} exists: move the store there away, or set RAMREEL_HOME to another folder to restore into"
        )
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=database.parent) as name:
        folder = Path(name)
        try:
            manifest = _extract(source, folder)
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise _invalid(source, one_line(error)) from None
        is_older(folder / "mlflow.db", "mlflow")
        is_older(folder / "prefect.db", "prefect")
        # MLflow's database last: until then there is no store.
        for place in _places(database):
            if (restored := folder / place.name).exists():
                if _is_empty(place):
                    place.rmdir() if place.is_dir() else place.unlink()
                restored.rename(place)
    return manifest


def _places(database: Path) -> Sequence[Path]:
    return [database.with_name(name) for name in (_ARTIFACTS, *reversed(_DATABASES))]


def _is_empty(path: Path) -> bool:
    return path.exists() and not (any(path.iterdir()) if path.is_dir() else path.stat().st_size)


def _extract(source: Path, folder: Path) -> BackupManifest:
    manifest, name = None, ""
    with tarfile.open(source) as archive:
        for member in archive:
            name = member.name
            if manifest is None:
                manifest = _manifest(source, archive, member)
                _require_space(folder, manifest.size)
            elif name != _END:
                archive.extract(member, folder, filter="data")
    if manifest is None or name != _END:
        raise _invalid(source, "its end is missing")
    return manifest


def _manifest(source: Path, archive: tarfile.TarFile, member: tarfile.TarInfo) -> BackupManifest:
    file = archive.extractfile(member) if member.name == _MANIFEST else None
    if file is None:
        raise _invalid(source, f"it does not start with {_MANIFEST}")
    try:
        return parse_json(BackupManifest, file.read(), newest=_SCHEMA)
    except ValueError as error:
        raise _invalid(source, str(error)) from None


def _invalid(source: Path, reason: str) -> StoreError:
    return StoreError(f"{source} is not a whole backup of `ramreel backup`: {reason}")
