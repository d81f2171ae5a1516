"""A disk that can be filled and emptied: a small tmpfs, or where none may be mounted a limit on files' sizes."""

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
"""What the system, SQLite and an ffmpeg that was ended say when there is no room."""
_SIZE = 48 * 1024**2


@dataclass
class Disk:
    """A folder; `fill` leaves so many bytes free, or lets no file of this process grow larger than that."""

    folder: Path
    fill: Callable[[int], None]
    make_space: Callable[[], None]


@contextmanager
def small_tmpfs(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", folder], check=True, capture_output=True)
    ballast = folder / "ballast"

    def fill(left: int) -> None:
        state = os.statvfs(folder)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - left or 1)

    try:
        yield Disk(folder, fill, lambda: ballast.unlink(missing_ok=True))
    finally:
        # Lazily: whatever still has a file open there must not keep the test from ending.
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def limited_files(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(largest: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))

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
