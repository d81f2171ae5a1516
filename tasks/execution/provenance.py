"""Provenance of a run: the command or the deployment, the library versions, the commit."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict
from uuid import UUID

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
    """Return the commit of the running source, with `-dirty` if it was modified; None if no repository tracks it."""
    try:
        # An environment may lie in the repository of another project.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    """Return the output of git in the folder of this file."""
    completed = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
    )
    return completed.stdout.strip()


def command() -> str:
    """Return the command line, quoted for a shell, without passwords.

    For a flow run of a deployment it is the command that runs the deployment with the same parameters.
    """
    # Imported here: processes that only need the versions do not import Prefect.
    from prefect.runtime import flow_run

    root = flow_run.root_flow_run_id
    arguments = _deployment_command(UUID(root)) if root else None
    return without_passwords(shlex.join(arguments or [Path(sys.argv[0]).name, *sys.argv[1:]]))


@cache
def _deployment_command(flow_run_id: UUID) -> list[str] | None:
    """Return the command that runs a flow run's deployment with its parameters; None if it has no deployment."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)
        if run.deployment_id is None:
            return None
        deployment, flow = client.read_deployment(run.deployment_id), client.read_flow(run.flow_id)
    parameters = json.dumps(run.parameters, separators=(",", ":"))
    return ["prefect", "deployment", "run", f"{flow.name}/{deployment.name}", "--params", parameters]


class Origin(TypedDict):
    """Provenance as `Store.start_run` takes it."""

    command: str
    versions: dict[str, str]
    commit: str | None


def origin() -> Origin:
    """Return the provenance of runs started by this process."""
    return Origin(command=command(), versions=versions(), commit=commit())
