"""A disk that can be filled: a small tmpfs or, where mounting is not permitted, a limit on file sizes."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
def small_tmpfs(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder], check=True, capture_output=True)
    ballast = folder / "ballast"

    def fill(free_bytes: int) -> None:
        state = os.statvfs(folder)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - free_bytes or 1)

    try:
        yield Disk(folder, fill, lambda: ballast.unlink(missing_ok=True))
    finally:
        # Lazy: a file that is still open there must not fail the test.
        subprocess.run(["umount", "--lazy", folder], check=True)


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
