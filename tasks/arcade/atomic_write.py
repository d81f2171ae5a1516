"""Atomic writes: a file or a folder appears complete and synced, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def atomic_file(path: Path, suffix: str = "") -> Iterator[Path]:
    """Yield a hidden temporary path next to `path`; sync the file written there and rename it to `path`.

    An existing file is replaced. On an error the temporary file is removed and `path` stays as it was.

    Args:
        path: The file, in a folder that exists.
        suffix: Suffix of the temporary path, for libraries that append a missing one.
    """
    temporary = temporary_path(path, suffix)
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new hidden temporary folder next to `path`; sync the files written there and rename it to `path`.

    On an error the temporary folder is removed.

    Raises:
        OSError: `path` exists and is not an empty folder, or cannot be written.
    """
    temporary = temporary_path(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def temporary_path(path: Path, suffix: str = "") -> Path:
    """Return a unique hidden path next to `path`."""
    return path.with_name(f".{path.name}.{uuid4().hex}{suffix}")


def publish(temporary: Path, path: Path) -> None:
    """Sync a complete temporary file and rename it to `path`, replacing an existing file."""
    _sync(temporary)
    temporary.replace(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
