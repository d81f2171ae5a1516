"""A process of this machine that executes child flow runs, one after the other.

Kept light: the environment of a process is set before it imports Prefect.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from uuid import UUID

from flows.runtime.gc_tuning import freeze_imports, raise_thresholds
from tasks.arcade.progress import CheckpointProgress, Progress
from tasks.arcade.rollouts.worker_pool import limit_cores
from tasks.arcade.settings.base import Settings
from tasks.execution.progress_sink import use_sink
from tasks.execution.worker_processes import end_with_parent


@dataclass(frozen=True)
class Assignment:
    """A flow run to execute: module and name of its flow, its id, its settings."""

    module: str
    name: str
    flow_run_id: UUID
    settings: Settings


@dataclass(frozen=True)
class Update:
    """Progress of a training run, or of a checkpoint that it records."""

    name: str
    progress: Progress | CheckpointProgress


@dataclass(frozen=True)
class Line:
    """A line of progress."""

    text: str


@dataclass(frozen=True)
class Ended:
    """The flow run has ended; `reason` is why it failed, in one line, or None."""

    reason: str | None


Message = Update | Line | Ended


def start_child_process(cores: int, environment: Mapping[str, str]) -> tuple[SpawnProcess, Connection]:
    """Start a process that executes assignments and sends messages; it ends with this process, even if killed.

    Args:
        cores: number of cores that it may use.
        environment: variables to set in its environment.
    """
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_main, args=(theirs, cores, dict(environment)), name="ramreel-child-runs")
    process.start()
    theirs.close()
    return process, ours


def _main(pipe: Connection, cores: int, environment: dict[str, str]) -> None:
    # A process group of its own: Ctrl-C signals its parent only, which then ends it with SIGTERM.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    raise_thresholds()
    limit_cores(cores)
    os.environ.update(environment)
    with suppress(EOFError), use_sink(_PipeSink(pipe)):
        while True:
            _execute(pipe.recv(), pipe)


def _execute(assignment: Assignment, pipe: Connection) -> None:
    flow = getattr(importlib.import_module(assignment.module), assignment.name)
    if gc.get_freeze_count() == 0:
        freeze_imports()
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    from tasks.store import one_line

    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(assignment.flow_run_id)
    reason = None
    try:
        run_flow(flow, flow_run=flow_run, parameters={"settings": assignment.settings})
    except Exception as error:
        reason = one_line(error)
    pipe.send(Ended(reason))


class _PipeSink:
    """Sends progress to the parent; threads of a flow run share it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._lock = pipe, threading.Lock()

    def update(self, name: str, progress: Progress) -> None:
        self._send(Update(name, progress))

    def update_recording(self, name: str, progress: CheckpointProgress) -> None:
        self._send(Update(name, progress))

    def log(self, line: str) -> None:
        self._send(Line(line))

    def _send(self, message: Message) -> None:
        with self._lock:
            self._pipe.send(message)
