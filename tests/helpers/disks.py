"""A disk that can be filled: a small tmpfs or, where mounting is not permitted, a limit on file sizes."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

REASON = r"No space left|disk is full|File too large|[Ff]ile ?size limit exceeded|disk I/O error"
"""Messages of the kernel, of SQLite and of an interrupted ffmpeg when a disk is full."""
_SIZE = 48 * 1024**2


@dataclass
class Disk:
    """A folder; `fill` leaves this many bytes free, or limits the size of this process's files to it."""

    folder: Path
    fill: Callable[[int], None]
    make_space: Callable[[], None]


@contextmanager
def small_tmpfs(folder: Path, size: int = _SIZE) -> Iterator[Disk]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True, capture_output=True)
    ballast = folder / "ballast"

    def fill(free_bytes: int) -> None:
        with ballast.open("wb") as file:
            # Others may write there meanwhile: then less is left.
            while (size := _free(folder) - free_bytes) > 0 and not _allocate(file, size):
                continue

    try:
        yield Disk(folder, fill, lambda: ballast.unlink(missing_ok=True))
    finally:
        # Lazy: a file that is still open there must not fail the test.
        subprocess.run(["umount", "--lazy", folder], check=True)


def _free(folder: Path) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize


def _allocate(file: BinaryIO, size: int) -> bool:
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


@contextmanager
def limited_files(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(max_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, hard))

    try:
        yield Disk(folder, limit, lambda: limit(soft))
    finally:
        limit(soft)


def may_mount() -> bool:
    with tempfile.TemporaryDirectory() as name:
        try:
            with small_tmpfs(Path(name) / "probe"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False
