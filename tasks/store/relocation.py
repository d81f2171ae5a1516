"""Artifact locations of the embedded store: absolute in MLflow's database, and updated when its folder has moved.

MLflow stores absolute URIs only, and its API cannot change them. They are kept within the folder of the database, so
that a moved store finds its artifacts, a copy never writes into its original, and MLflow's own server and UI find both.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.store import mlflow_internals
from tasks.store.create_run import artifact_folder
from tasks.store.errors import StoreError

_LOCK_SECONDS = 60


def keep_locations_within(database: Path) -> None:
    """Update the artifact locations of a SQLite store whose folder was moved, copied or mounted elsewhere.

    Locations outside the former folder are kept, and so are all of them if it is the same folder by another path, such
    as a link. Cheap if nothing has changed.

    Raises:
        StoreError: the file is gone, or cannot be updated.
    """
    if not database.exists():
        # SQLite would create an empty file in its place, and MLflow the folders of the artifacts.
        raise StoreError(
            f"{database} is gone: the store was moved or deleted while it was in use; repeat the command over the "
            "store's new place"
        )
    try:
        with closing(_connect(database, "ro")) as connection:
            if not _former_folders(connection, database.parent):
                return
        with closing(_connect(database, "rw")) as connection, connection:
            # Another process may have updated them in the meantime.
            connection.execute("BEGIN IMMEDIATE")
            former = _former_folders(connection, database.parent)
            updated = sum(_move(connection, folder, database.parent) for folder in former)
    except sqlite3.Error as error:
        raise StoreError(f"cannot update the artifact locations in {database}: {error}") from error
    mlflow_internals.forget_artifact_locations()
    if updated:
        _log(", ".join(map(str, former)), database.parent)


@cache
def _log(former: str, folder: Path) -> None:
    """Log an update once: while two paths of a store are in use, each process updates it again and again."""
    logging.getLogger("ramreel").warning(
        "the store was moved or copied from %s to %s: artifact locations in its database were updated", former, folder
    )


def _connect(database: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{database.as_uri()}?mode={mode}", uri=True, timeout=_LOCK_SECONDS)


def _former_folders(connection: sqlite3.Connection, folder: Path) -> tuple[Path, ...]:
    """Return the folders of the database that its artifact locations are in, except this one; longest first."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return ()
    experiments = connection.execute("SELECT experiment_id, name, artifact_location FROM experiments")
    found = _creation_folders([(str(row[0]), row[1], row[2] or "") for row in experiments])
    return tuple(sorted((former for former in found if not _is_same(former, folder)), key=_length, reverse=True))


def _creation_folders(experiments: Sequence[tuple[str, str, str]]) -> set[Path]:
    """Return the folders of the database in which experiments, as (id, name, location), were created.

    The experiment that MLflow creates with the database tells it even if all others were renamed, unless a server of
    the user's own had another place for artifacts: MLflow names its experiments' folders there by their ids.
    """
    named, first, by_id = set[Path](), set[Path](), set[Path]()
    for experiment_id, name, location in experiments:
        parts = urlsplit(location)
        path = Path(unquote(parts.path))
        if parts.scheme != "file" or path.parent.name != "artifacts":
            continue
        if path.name == artifact_folder(name):
            named.add(path.parent.parent)
        elif path.name == experiment_id:
            (first if experiment_id == "0" else by_id).add(path.parent.parent)
    return named | (first - by_id)


def _is_same(former: Path, folder: Path) -> bool:
    try:
        return former == folder or former.samefile(folder)
    except OSError:
        return False


def _length(folder: Path) -> int:
    return len(folder.as_uri())


def _move(connection: sqlite3.Connection, former: Path, folder: Path) -> int:
    """Replace a folder in all locations, and return how many others than those of experiments were in it."""
    others = 0
    for table, columns in mlflow_internals.LOCATION_COLUMNS.items():
        existing = {name for (_, name, *_) in connection.execute(f"PRAGMA table_info({table})")}
        for column in existing.intersection(columns):
            # MLflow's client stores a path where it was given one.
            for old, new in ((former.as_uri(), folder.as_uri()), (str(former), str(folder))):
                inside = f"substr({column}, 1, length(:old)) = :old AND substr({column}, 1, length(:new)) != :new"
                moved = connection.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) WHERE {inside}",  # noqa: S608
                    {"old": f"{old}/", "new": f"{new}/"},
                ).rowcount
                others += moved if table != "experiments" else 0
    return others
