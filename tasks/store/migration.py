"""Schemas of the embedded databases: older ones are migrated beside a copy that is kept, newer ones are refused.

MLflow refuses an older schema, and Prefect's server migrates it in place; a newer one makes both fail with an internal
error. Both record the Alembic revision of their schema, and their packages hold one file per revision.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from filelock import FileLock

from tasks.store import mlflow_internals
from tasks.store.database_files import copy_database
from tasks.store.errors import StoreError

Package = Literal["mlflow", "prefect"]

_FOLDERS: Mapping[Package, str] = {
    "mlflow": "store/db_migrations/versions",
    "prefect": "server/database/_migrations/versions/sqlite",
}
_REVISION = re.compile(r"^(?P<name>revision|down_revision)\b[^=\n]*=(?P<value>[^\n]*(?:\([^)]*\))?)", re.MULTILINE)
_QUOTED = re.compile(r"[\"']([^\"']+)[\"']")


def is_older(database: Path, package: Package) -> bool:
    """Return whether a SQLite database has an older schema than the installed package.

    Raises:
        StoreError: it has a newer one.
    """
    revision = _revision(database)
    if revision is None:
        return False
    known, heads = _revisions(package)
    if revision not in known:
        raise StoreError(
            f"{database} was written by a newer version of {package} (schema {revision}): upgrade ramreel, or restore "
            "a backup of the version before"
        )
    return revision not in heads


def keep_copy_of_older(database: Path, package: Package) -> None:
    """Keep a copy of a database that its server is going to migrate; announce it in a line.

    Raises:
        StoreError: it has a newer schema than the installed package, or cannot be copied.
    """
    if not database.exists() or not is_older(database, package):
        return
    copy = database.with_name(f"{database.name}.before-{_revision(database)}")
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        copy_database(database, unfinished)
        unfinished.replace(copy)
    logging.getLogger("ramreel").warning("%s is migrated to this version; a copy is kept: %s", database, copy.name)


def migrate_older(database: Path) -> None:
    """Migrate MLflow's database if its schema is an older one: a copy, which replaces it once it is complete.

    Raises:
        StoreError: it has a newer schema, or another process is using it.
    """
    if not is_older(database, "mlflow"):
        return
    with FileLock(f"{database}.lock"):
        if not is_older(database, "mlflow"):
            return
        _leave_write_ahead_log(database)
        keep_copy_of_older(database, "mlflow")
        unfinished = database.with_name(f"{database.name}.unfinished")
        unfinished.unlink(missing_ok=True)
        copy_database(database, unfinished)
        mlflow_internals.migrate_database(unfinished)
        with closing(sqlite3.connect(unfinished)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        unfinished.replace(database)


def _leave_write_ahead_log(database: Path) -> None:
    """Write everything into the file itself: a log beside it would be applied to the one that replaces it."""
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"{database} has to be migrated to this version, and another process uses it ({error}): stop `ramreel up` "
            "and all commands over it first"
        ) from None


def _revision(database: Path) -> str | None:
    """Return the revision of a database's schema; None if it has none yet."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None


@cache
def _revisions(package: Package) -> tuple[frozenset[str], frozenset[str]]:
    """Return all revisions of the installed package, and the newest ones.

    Alembic would import every file, which takes seconds.
    """
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / _FOLDERS[package]
    known, former = set[str](), set[str]()
    for file in folder.glob("*.py"):
        for match in _REVISION.finditer(file.read_text("utf-8")):
            (known if match["name"] == "revision" else former).update(_QUOTED.findall(match["value"]))
    return frozenset(known), frozenset(known - former)
