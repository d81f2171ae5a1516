"""Checks of what ramreel needs of a machine: one line each, for a bug report, without passwords."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping

from tasks.arcade.errors import RamreelError
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.progress import Progress
from tasks.arcade.rollouts.memory_limit import available_memory
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.execution import provenance
from tasks.execution.endpoints import running_servers
from tasks.execution.worker_processes import check_shared_memory
from tasks.store import StoreError, find_home, one_line, open_store

_GAME = "ALE/Pong-v5"
_TRAINING_SECONDS = 5.0
_LEAST_DISK = 2 * 10**9
"""Free bytes below which a night of training runs and videos may not fit."""
_PORTS = (4200, 5000)


class DiagnosisError(RamreelError):
    """Something that ramreel needs is missing; the message is one line and says what would be right."""


class Finding(Settings):
    """Result of one check."""

    name: str
    ok: bool
    details: str

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{'ok   ' if self.ok else 'WRONG'}  {self.name}: {self.details}"


def diagnose(check_proxies: Callable[[], str]) -> Iterator[Finding]:
    """Check everything, and yield each finding as soon as it is known.

    Args:
        check_proxies: returns how the proxies of the environment are set.
    """
    checks: Mapping[str, Callable[[], str]] = {
        "versions": _versions,
        "machine": _machine,
        "ROMs": _roms,
        "ffmpeg": _ffmpeg,
        "disk": _disk,
        "store": _store,
        "Prefect": _prefect,
        "ports": _ports,
        "proxies": check_proxies,
        "training": _training,
    }
    for name, check in checks.items():
        try:
            yield Finding(name=name, ok=True, details=check())
        except Exception as error:
            # Whatever is wrong with a machine is what this command is for.
            known = isinstance(error, RamreelError)
            details = str(error) if known else f"{type(error).__name__}: {one_line(error)}"
            yield Finding(name=name, ok=False, details=details)


def _versions() -> str:
    commit = provenance.commit()
    versions = [f"{name} {version}" for name, version in provenance.versions().items()]
    return ", ".join([*versions, *([f"commit {commit}"] if commit else [])])


def _machine() -> str:
    check_shared_memory()
    memory = f"{available_memory() / 2**30:.1f} GiB of memory available"
    return f"{platform.system()} {platform.release()}, {platform.machine()}, {pluralize(cores(), 'core')}, {memory}"


def _roms() -> str:
    from tasks.arcade.emulator.environment_ids import (
        ROMS_ENVIRONMENT,
        ale_version,
        check_roms_folder,
        environment_ids,
        has_rom,
        resolve,
    )

    check_roms_folder()
    roms = {resolve(name).rom for name in environment_ids()}
    readable = sum(map(has_rom, roms))
    folder = os.environ.get(ROMS_ENVIRONMENT)
    place = f"in {folder}" if folder else f"of ale-py {ale_version()}"
    if not readable:
        raise DiagnosisError(f"none of the {len(roms)} ROMs {place} can be read: install ale-py again")
    return f"{readable} of {len(roms)} {place}"


def _ffmpeg() -> str:
    from tasks.arcade.drawing.ffmpeg import find_ffmpeg

    found = find_ffmpeg()
    return f"{found.version}, {found.path}"


def _disk() -> str:
    home = find_home()
    existing = next(folder for folder in (home / "mlruns", *(home / "mlruns").parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    details = f"{free / 10**9:.1f} GB free for {home / 'mlruns'}"
    if free < _LEAST_DISK:
        raise DiagnosisError(f"{details}: free some, or set RAMREEL_HOME to a folder of another disk")
    return details


def _store() -> str:
    store = open_store()
    if store.address.is_fresh:
        return f"{store.address.redacted_uri}, which the first run creates"
    version = store.server_version()
    server = f", MLflow {version}" if version else ""
    runs = pluralize(len(store.runs_tagged("ramreel.kind", "training")), "training run")
    return f"{store.address.redacted_uri}{server}, {runs}"


def _prefect() -> str:
    # Imported here: importing Prefect takes seconds.
    from tasks.services.prefect_server import check_prefect_server
    from tasks.store import without_passwords

    if api := os.environ.get("PREFECT_API_URL"):
        check_prefect_server(api)
        return f"server at {without_passwords(api)}"
    return "a server of its own for each command"


def _ports() -> str:
    try:
        servers = running_servers(open_store().address)
    except StoreError:
        servers = None
    if servers:
        return f"`ramreel up` is running: Prefect at {servers.prefect}, MLflow at {servers.mlflow}"
    if used := [str(port) for port in _PORTS if not _is_free(port)]:
        options = "--prefect-port and --mlflow-port"
        raise DiagnosisError(f"{' and '.join(used)} in use by another program: `ramreel up` needs {options}")
    return f"{' and '.join(map(str, _PORTS))} are free for `ramreel up`"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _training() -> str:
    from tasks.arcade import learner
    from tasks.arcade.inputs.forms import TrainSettings
    from tasks.arcade.inputs.resolve import run_settings

    settings = TrainSettings(env_id=_GAME, steps=10**9, checkpoint_every=10**9)
    end = learner.train(run_settings(settings), cores(), _FewSeconds())
    return (
        f"{end.steps_per_second:,.0f} steps/s of {settings.approach} on {_GAME}, {pluralize(cores(), 'worker process')}"
    )


class _FewSeconds:
    """Callback that ends training after a few seconds, and stores nothing."""

    def __init__(self) -> None:
        self._end: float | None = None

    def on_metrics(self, values: Mapping[str, float], step: int) -> None:
        pass

    def on_checkpoint(self, *_: object) -> None:
        pass

    def on_progress(self, progress: Progress) -> None:
        pass

    def interrupt_requested(self) -> bool:
        return False

    def on_interrupt(self) -> None:
        pass

    def should_stop(self, progress: Progress) -> bool:
        # The first rollout includes the start of the workers.
        self._end = self._end or time.monotonic() + _TRAINING_SECONDS
        return time.monotonic() >= self._end
