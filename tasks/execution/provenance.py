"""Provenance of a run: the command, the library versions, the commit."""

from __future__ import annotations

import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from tasks.store import without_passwords

PACKAGES = (
    "ramreel",
    "ale-py",
    "gymnasium",
    "stable-baselines3",
    "torch",
    "numpy",
    "mlflow",
    "prefect",
    "imageio-ffmpeg",
)


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that determine a result."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """Return the commit of the running source, with `-dirty` if it was modified; None outside a repository."""
    try:
        completed = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.strip()


def command() -> str:
    """Return the command line, quoted for a shell, without passwords."""
    return without_passwords(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))


class Origin(TypedDict):
    """Provenance as `Store.start_run` takes it."""

    command: str
    versions: dict[str, str]
    commit: str | None


def origin() -> Origin:
    """Return the provenance of runs started by this process."""
    return Origin(command=command(), versions=versions(), commit=commit())
