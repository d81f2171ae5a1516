"""Pool of worker processes that collect whole rollouts, without communication at every step.

Each worker owns some of the environments. Once per rollout it receives the weights, plays `n_steps` steps in each of
its environments and writes them to memory shared with the parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import math
import multiprocessing as mp
import os
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import RawArray, RawValue
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from tasks.arcade.errors import RamreelError
from tasks.arcade.policies.actor_critic import Weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.rollouts.cpu_quota import cpu_quota
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.rollouts.on_policy import CollectedSteps, FinishedEpisode, RolloutPlayer, RolloutSettings
from tasks.arcade.rollouts.process_state import is_runnable

HANG_SECONDS = 20
"""A worker without a step for this long hangs, unless it waits for a CPU; a step takes about a millisecond."""
_STARVED_FACTOR = 15
"""Times this limit, a worker that could run is waited for: other programs may leave it next to nothing of a core."""
START_SECONDS = 120
"""Limit for a worker's first answer, which waits for imports on a busy machine."""
_GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, Prefect's cancellation and a closed terminal signal the whole process group; only the parent handles them."""
_PARENT_CHECK_STEPS = 64
"""Steps between a worker's checks that its parent is alive."""
_POLL_SECONDS = 0.25
"""Interval of the parent's checks for hanging workers and cancellation while it waits."""


class WorkerError(RamreelError):
    """A worker died, hangs or raised an exception."""


class _SharedBuffers:
    """A rollout's arrays in memory shared by parent and workers."""

    def __init__(self, settings: RolloutSettings) -> None:
        self._layout = settings.layout()
        # RawArray maps an unlinked file: the system frees it even if the parent is killed.
        self._raw = {
            name: RawArray(ctypes.c_char, int(np.prod(shape)) * np.dtype(kind).itemsize)
            for name, (shape, kind) in self._layout.items()
        }
        self.beats = RawArray(ctypes.c_long, settings.n_envs)
        self.cancelled = RawValue(ctypes.c_bool, False)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {
            name: np.frombuffer(memoryview(self._raw[name]), dtype=kind).reshape(shape)
            for name, (shape, kind) in self._layout.items()
        }


@dataclass(frozen=True)
class _Play:
    weights: Weights
    statistics: Statistics


@dataclass(frozen=True)
class _Restore:
    states: tuple[EnvironmentState, ...]


@dataclass(frozen=True)
class _Snapshot:
    before: bool


class _CancelledError(Exception):
    """The current rollout was cancelled."""


@dataclass(frozen=True)
class _Failed:
    reason: str
    details: str


def _worker_main(settings: RolloutSettings, shared: _SharedBuffers, span: range, pipe: Connection) -> None:
    """Worker main loop: handle requests until the parent closes the pipe or dies."""
    for number in _GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _GROUP_SIGNALS)
    with contextlib.suppress(EOFError, BrokenPipeError), threadpool_limits(1):
        try:
            player, beat = settings.player(span, shared.arrays()), _heartbeat(shared, span)
            pipe.send(None)
            while True:
                pipe.send(_handle(player, pipe.recv(), beat))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            pipe.send(_Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))


@contextlib.contextmanager
def _blocked_signals() -> Iterator[None]:
    """Block the group's signals; a process started meanwhile inherits the mask until it ignores them."""
    # Starting the first process also starts the resource tracker, which would unblock them here.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _GROUP_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heartbeat(shared: _SharedBuffers, span: range) -> Callable[[], None]:
    """Return a worker's callback per step: count it, exit if the parent died, raise if the rollout was cancelled."""
    parent = mp.parent_process()
    assert parent is not None

    def beat() -> None:
        shared.beats[span.start] += 1
        if shared.beats[span.start] % _PARENT_CHECK_STEPS == 0 and wait([parent.sentinel], timeout=0):
            raise SystemExit(0)
        if shared.cancelled.value:
            raise _CancelledError

    return beat


def _handle(player: RolloutPlayer, message: object, beat: Callable[[], None]) -> object:
    match message:
        case _Play(weights, statistics):
            with contextlib.suppress(_CancelledError):
                return player.play(weights, statistics, beat)
            return None
        case _Snapshot(before):
            return player.states(before=before)
        case _Restore(states):
            player.restore(states, beat)
            return None
        case _:
            raise TypeError(f"unknown message {message!r}")


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    span: range


class WorkerPool:
    """Persistent worker processes over the environments of one training run.

    Use it as a context manager. Workers exit on their own if the parent dies.

    Attributes:
        settings: specification of the rollouts.

    Raises:
        WorkerError: From any method, if a worker died, hangs or raised an exception.
    """

    def __init__(self, settings: RolloutSettings, workers: int) -> None:
        self.settings = settings
        context = mp.get_context("spawn")
        self._shared = _SharedBuffers(settings)
        self._workers: list[_Worker] = []
        self._pending = False
        self._answers: list[list[FinishedEpisode] | None] | None = None
        try:
            for span in _split_evenly(settings.n_envs, min(workers, settings.n_envs)):
                ours, theirs = context.Pipe()
                _set_timeouts(ours)
                process = context.Process(
                    target=_worker_main,
                    args=(settings, self._shared, span, theirs),
                    name=f"rollouts {span}",
                    daemon=True,
                )
                with _blocked_signals():
                    process.start()
                    theirs.close()
                    self._workers.append(_Worker(process, ours, span))
            self._gather(START_SECONDS)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.process.pid or 0 for worker in self._workers)

    def start_rollout(self, weights: Weights, statistics: Statistics) -> None:
        """Start a rollout with these weights in every worker; `finish_rollout` waits for it."""
        self._shared.cancelled.value = False
        self._send([_Play(weights, statistics)] * len(self._workers))
        self._pending = True

    @property
    def rollout_pending(self) -> bool:
        """Whether a rollout was started and not finished."""
        return self._pending

    def finish_rollout(self, cancel: Callable[[], bool] = lambda: False) -> CollectedSteps | None:
        """Wait for the rollout that was started.

        Args:
            cancel: polled while waiting; once it returns True the rollout is cancelled.

        Returns:
            The rollout; None if it was cancelled, in which case it stays pending until `discard_rollout`.
        """
        answers = self._wait(cancel)
        if None in answers:
            return None
        self._pending, self._answers = False, None
        episodes = [episode for answer in answers for episode in answer or ()]
        episodes.sort(key=lambda episode: (episode.step, episode.environment))
        return self.settings.collected(self._shared.arrays(), tuple(episodes))

    def _wait(self, cancel: Callable[[], bool] = lambda: False) -> list[list[FinishedEpisode] | None]:
        if self._answers is None:
            self._answers = self._gather(cancel=cancel)
        return self._answers

    def discard_rollout(self) -> None:
        """Discard the pending rollout and restore every environment to its state before it."""
        before = self.snapshot()
        self._pending, self._answers = False, None
        self.restore(before)

    def snapshot(self) -> tuple[EnvironmentState, ...]:
        """Return the state of every environment: now, or before the pending rollout if there is one."""
        if self._pending:
            self._wait()
        self._send([_Snapshot(before=self._pending)] * len(self._workers))
        return tuple(state for answer in self._gather() for state in answer)

    def restore(self, states: Sequence[EnvironmentState]) -> None:
        """Restore every environment to the result of `snapshot`."""
        # The flag may still be set by a cancelled rollout, and would cancel the replay.
        self._shared.cancelled.value = False
        self._send([_Restore(tuple(states[worker.span.start : worker.span.stop])) for worker in self._workers])
        self._gather()

    def close(self) -> None:
        """Terminate the workers."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(timeout=1)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, messages: Sequence[object]) -> None:
        for worker, message in zip(self._workers, messages, strict=True):
            try:
                worker.pipe.send(message)
            except (BrokenPipeError, ConnectionResetError):
                raise self._death(worker) from None
            except BlockingIOError:
                raise self._hanging(worker, "receives") from None

    def _gather(self, timeout: int | None = None, cancel: Callable[[], bool] = lambda: False) -> list[Any]:
        limit = timeout or HANG_SECONDS
        answers: dict[int, Any] = {}
        idle_seconds, starved_seconds, beats = 0.0, 0.0, self._count_beats()
        while len(answers) < len(self._workers):
            waiting = {worker.pipe: at for at, worker in enumerate(self._workers) if at not in answers}
            ready = wait(list(waiting), timeout=_POLL_SECONDS)
            for pipe in ready:
                assert isinstance(pipe, Connection)
                at = waiting[pipe]
                answers[at] = self._receive(self._workers[at])
            if not ready:
                self._shared.cancelled.value = cancel()
                before, beats = beats, self._count_beats()
                if beats != before:
                    idle_seconds = starved_seconds = 0
                elif all(is_runnable(self.pids[at]) for at in waiting.values()):
                    starved_seconds += _POLL_SECONDS
                else:
                    idle_seconds += _POLL_SECONDS
                if idle_seconds >= limit or starved_seconds >= _STARVED_FACTOR * limit:
                    names = ", ".join(str(at) for at in waiting.values())
                    raise WorkerError(f"worker {names} hangs: no step in {idle_seconds + starved_seconds:.0f} seconds")
        return [answers[at] for at in range(len(self._workers))]

    def _count_beats(self) -> int:
        return sum(self._shared.beats)

    def _receive(self, worker: _Worker) -> Any:
        try:
            answer = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._death(worker) from None
        except BlockingIOError:
            raise self._hanging(worker, "sends") from None
        if isinstance(answer, _Failed):
            error = WorkerError(f"worker {self._workers.index(worker)} failed: {answer.reason}")
            error.add_note(answer.details)
            raise error
        return answer

    def _hanging(self, worker: _Worker, verb: str) -> WorkerError:
        return WorkerError(f"worker {self._workers.index(worker)} hangs: it {verb} nothing in {HANG_SECONDS} seconds")

    def _death(self, worker: _Worker) -> WorkerError:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        cause = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return WorkerError(f"worker {self._workers.index(worker)} (process {worker.process.pid}) ended {cause}")


def _set_timeouts(pipe: Connection) -> None:
    """Make send and receive raise BlockingIOError after `HANG_SECONDS` without progress.

    Weights exceed a pipe's buffer: without a timeout, sending them to a hanging worker would block forever.
    """
    # Duplex pipes are sockets; options set through a duplicate apply to the same socket.
    with socket.socket(fileno=os.dup(pipe.fileno())) as duplicate:
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            duplicate.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", HANG_SECONDS, 0))


def _split_evenly(n_envs: int, workers: int) -> list[range]:
    """Return contiguous ranges of environments, one per worker."""
    edges = [n_envs * at // workers for at in range(workers + 1)]
    return [range(low, high) for low, high in itertools.pairwise(edges)]


_limit: int | None = None


def limit_cores(n: int) -> None:
    """Let `cores` of this process return at most `n`: other processes use the rest of the machine."""
    global _limit  # noqa: PLW0603 - as the affinity, which would also bind it to certain cores
    _limit = n


def cores() -> int:
    """Return the number of CPU cores for this process: its affinity, the quota of its control group, its share."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, *(math.ceil(limit) for limit in (cpu_quota(), _limit) if limit), available)
