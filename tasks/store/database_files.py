"""SQLite files of the embedded store while other processes use them: consistent copies, and free pages given back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tasks.store.errors import StoreError

_LOCK_SECONDS = 60
_MAX_FREE = 0.25
"""Share of unused pages from which a file is rewritten: SQLite fills smaller ones again."""


def copy_database(source: Path, target: Path) -> None:
    """Write a consistent copy of a SQLite file that other processes may be writing.

    Raises:
        StoreError: the file is damaged, or the disk is full.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as reader,
            closing(sqlite3.connect(target)) as copy,
        ):
            # All pages in one step: a writer between two steps would start it again.
            reader.backup(copy)
            (result,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source}: {error}") from error
    if result != "ok":
        raise StoreError(f"{source} is damaged ({result}): restore a backup of it")


def shrink(database: Path) -> bool:
    """Give the unused pages of a SQLite file back to the disk if they are many; return whether that was done.

    A file that another process is writing is left as it is.
    """
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)) as connection:
            (free,), (pages,) = (
                connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count")
            )
            if free <= _MAX_FREE * pages:
                return False
            connection.execute("VACUUM")
            # Otherwise the log keeps the size of the rewritten file.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError:
        return False
    return True
