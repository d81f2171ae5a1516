"""Where a run came from: what was typed, which versions, which commit."""

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
    """Versions of what decides a result, by package; Python's beside them."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """Commit of the source that runs, with `-dirty` where it was changed since; none outside of a repository."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def command() -> str:
    """What was typed, as a shell would take it again, without passwords."""
    return without_passwords(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))


class Origin(TypedDict):
    """What a run's own tags say of where it came from."""

    command: str
    versions: dict[str, str]
    commit: str | None


def origin() -> Origin:
    """Where whatever is started now comes from."""
    return Origin(command=command(), versions=versions(), commit=commit())
