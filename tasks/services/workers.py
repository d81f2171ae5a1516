"""Workers of this machine: one for each work queue, replaced when it exits."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tasks.services.child_processes import ChildProcess, child_process, stop
from tasks.store import find_home

_STOP_SECONDS = 40
_STABLE_SECONDS = 20
"""A worker that exits sooner did not start properly."""


@dataclass(frozen=True)
class WorkerSetup:
    """What the workers of this machine execute, and where.

    Attributes:
        pool: work pool.
        limits: its work queues, and the number of flow runs of each that are executed at the same time. Limits of the
            queues in Prefect would be those of all machines together.
        environment: variables to set in the environment of workers and flow runs.
    """

    pool: str
    limits: Mapping[str, int]
    environment: Mapping[str, str] = field(repr=False)


def keep_workers_running(
    setup: WorkerSetup,
    *,
    log: Callable[[str], None],
    before_start: Callable[[str], None] = lambda _: None,
    check: Callable[[], None] = lambda: None,
    wait_for_server: Callable[[], bool] = lambda: False,
) -> None:
    """Run a worker for each work queue until an exception, such as Ctrl-C, and replace one that exits.

    Args:
        setup: the workers.
        log: called with lines for the user.
        before_start: called with the queue before a worker is started, while the queue has none on this machine.
        check: called repeatedly; what it raises ends the workers.
        wait_for_server: called when a worker has exited; waits for Prefect's server, and returns whether it was away.

    Raises:
        ServerError: a worker did not start.
    """
    workers: dict[str, _Worker] = {}
    with ExitStack() as stack:
        try:
            while True:
                for queue in setup.limits:
                    if (worker := workers.get(queue)) and worker.child.process.poll() is None:
                        continue
                    if worker:
                        check()
                        if not wait_for_server() and time.monotonic() - worker.started < _STABLE_SECONDS:
                            worker.child.raise_if_exited()
                        worker.stack.close()
                        log(f"The {queue} worker exited; starting another one.")
                    before_start(queue)
                    workers[queue] = _start_worker(setup, queue, stack)
                check()
                time.sleep(0.5)
        finally:
            # Their flow runs end first, and a training run saves a last checkpoint.
            stop([worker.child for worker in workers.values()], _STOP_SECONDS)


def worker_environment(api: str, tracking_uri: str) -> dict[str, str]:
    """Return the variables of workers and their flow runs.

    Args:
        api: URL of Prefect's API.
        tracking_uri: MLflow tracking URI.
    """
    return {
        # The `python` of the deployments' command is the one that has ramreel installed.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "3",
        # Flow runs have a working directory of their own, from which they would not find the store.
        "RAMREEL_HOME": str(find_home()),
        "MLFLOW_TRACKING_URI": tracking_uri,
    }


def worker_name(queue: str) -> str:
    """Return the name of this machine's worker for a queue."""
    return f"{socket.gethostname()} {queue}"


@dataclass(frozen=True)
class _Worker:
    """A running worker; closing its stack ends it."""

    child: ChildProcess
    stack: ExitStack
    started: float


def _start_worker(setup: WorkerSetup, queue: str, outer: ExitStack) -> _Worker:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", setup.pool, "--type", "process"]
    command += ["--work-queue", queue, "--limit", str(setup.limits[queue]), "--name", worker_name(queue)]
    stack = outer.enter_context(ExitStack())
    child = child_process(f"The {queue} worker", command, setup.environment, stop_seconds=_STOP_SECONDS)
    return _Worker(stack.enter_context(child), stack, time.monotonic())
