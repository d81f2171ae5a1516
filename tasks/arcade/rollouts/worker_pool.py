"""Worker processes that play whole rollouts: the emulator's own speed, with no exchange at each step.

Each worker owns some environments. Once a rollout it is sent the weights, plays `n_steps` steps of each of its
environments by itself, and leaves what it saw in memory shared with the parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
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
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.rollouts.on_policy import Episode, Played, RolloutPlayer, RolloutSettings

HANG_SECONDS = 20
"""A step takes about a millisecond: a worker that plays none for this long hangs."""
START_SECONDS = 120
"""A worker's first answer waits for Python and its libraries to load, on a busy machine."""
_OF_THE_GROUP = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C and Prefect's cancelling reach the whole process group; the parent decides what they mean."""
_LOOK_FOR_PARENT_EVERY = 64
_LOOK_SECONDS = 0.25
"""Between looks, while workers play, at whether they live and whether the rollout is still wanted."""


class WorkerError(RamreelError):
    """A worker died, hangs or raised; the message is the worker's own."""


class _Shared:
    """The rollout's arrays in memory that parent and workers share; freed by the system when the last one ends."""

    def __init__(self, settings: RolloutSettings) -> None:
        self._layout = settings.layout()
        # Shared arrays of the standard library lie in unlinked files: a killed parent leaves nothing behind.
        self._raw = {
            name: RawArray(ctypes.c_char, int(np.prod(shape)) * np.dtype(kind).itemsize)
            for name, (shape, kind) in self._layout.items()
        }
        self.beats = RawArray(ctypes.c_long, settings.n_envs)
        self.given_up = RawValue(ctypes.c_bool, False)

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


class _GivenUpError(Exception):
    """A rollout is not wanted any more."""


@dataclass(frozen=True)
class _Failed:
    reason: str
    details: str


def _work(settings: RolloutSettings, shared: _Shared, span: range, pipe: Connection) -> None:
    """A worker's life: plays what it is asked to, until its parent closes the pipe or is gone."""
    for number in _OF_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_GROUP)
    with contextlib.suppress(EOFError, BrokenPipeError), threadpool_limits(1):
        try:
            player, beat = settings.player(span, shared.arrays()), _heart(shared, span)
            pipe.send(None)
            while True:
                pipe.send(_answer(player, pipe.recv(), beat))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            pipe.send(_Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Signals to the process group wait; a process that is started meanwhile goes on holding them back itself."""
    # The first process that is started brings another one along, which lets them through again here.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_GROUP)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _heart(shared: _Shared, span: range) -> Callable[[], None]:
    """What a worker does at each step: show that it lives; end when its parent does not, or the rollout is given up."""
    parent = mp.parent_process()
    assert parent is not None

    def beat() -> None:
        shared.beats[span.start] += 1
        if shared.beats[span.start] % _LOOK_FOR_PARENT_EVERY == 0 and wait([parent.sentinel], timeout=0):
            raise SystemExit(0)
        if shared.given_up.value:
            raise _GivenUpError

    return beat


def _answer(player: RolloutPlayer, message: object, beat: Callable[[], None]) -> object:
    match message:
        case _Play(weights, statistics):
            with contextlib.suppress(_GivenUpError):
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
    """Persistent worker processes over the environments of one training.

    Use as a context manager: the workers end with it, and by themselves when the parent is gone.

    Raises:
        WorkerError: from any method, when a worker died, hangs or raised.
    """

    def __init__(self, settings: RolloutSettings, workers: int) -> None:
        self.settings = settings
        context = mp.get_context("spawn")
        self._shared = _Shared(settings)
        self._workers: list[_Worker] = []
        self._under_way = False
        self._played: list[list[Episode] | None] | None = None
        try:
            for span in _spans(settings.n_envs, min(workers, settings.n_envs)):
                ours, theirs = context.Pipe()
                _be_patient(ours)
                process = context.Process(
                    target=_work, args=(settings, self._shared, span, theirs), name=f"rollouts {span}", daemon=True
                )
                with _held_back():
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

    def start(self, weights: Weights, statistics: Statistics) -> None:
        """Have every worker play a rollout with these weights; `finish` waits for it."""
        self._shared.given_up.value = False
        self._send([_Play(weights, statistics)] * len(self._workers))
        self._under_way = True

    @property
    def under_way(self) -> bool:
        """Whether a rollout was started and not finished."""
        return self._under_way

    def finish(self, unwanted: Callable[[], bool] = lambda: False) -> Played | None:
        """The rollout that `start` began.

        Args:
            unwanted: asked meanwhile; once it says so the rollout is given up, and none comes of it: it counts as
                under way until `take_back`.
        """
        played = self._wait(unwanted)
        if None in played:
            return None
        self._under_way, self._played = False, None
        episodes = [episode for answer in played for episode in answer or ()]
        episodes.sort(key=lambda episode: (episode.step, episode.environment))
        return self.settings.played(self._shared.arrays(), tuple(episodes))

    def _wait(self, unwanted: Callable[[], bool] = lambda: False) -> list[list[Episode] | None]:
        if self._played is None:
            self._played = self._gather(unwanted=unwanted)
        return self._played

    def take_back(self) -> None:
        """Bring every environment back to where it was before the rollout under way, which is none any more."""
        before = self.snapshot()
        self._under_way, self._played = False, None
        self.restore(before)

    def snapshot(self) -> tuple[EnvironmentState, ...]:
        """Every environment in flight, between two rollouts: before the one that is under way, if one is."""
        if self._under_way:
            self._wait()
        self._send([_Snapshot(before=self._under_way)] * len(self._workers))
        return tuple(state for answer in self._gather() for state in answer)

    def restore(self, states: Sequence[EnvironmentState]) -> None:
        """Bring every environment back to where `snapshot` found it."""
        # What is played again is wanted, though the rollout before may not have been.
        self._shared.given_up.value = False
        self._send([_Restore(tuple(states[worker.span.start : worker.span.stop])) for worker in self._workers])
        self._gather()

    def close(self) -> None:
        """End the workers."""
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
                raise self._hanging(worker, "takes") from None

    def _gather(self, patience: int | None = None, unwanted: Callable[[], bool] = lambda: False) -> list[Any]:
        limit = patience or HANG_SECONDS
        answers: dict[int, Any] = {}
        silent_seconds, beats = 0.0, self._count_beats()
        while len(answers) < len(self._workers):
            waiting = {worker.pipe: at for at, worker in enumerate(self._workers) if at not in answers}
            ready = wait(list(waiting), timeout=_LOOK_SECONDS)
            for pipe in ready:
                assert isinstance(pipe, Connection)
                at = waiting[pipe]
                answers[at] = self._receive(self._workers[at])
            if not ready:
                self._shared.given_up.value = unwanted()
                before, beats = beats, self._count_beats()
                silent_seconds = 0 if beats != before else silent_seconds + _LOOK_SECONDS
                if silent_seconds >= limit:
                    names = ", ".join(str(at) for at in waiting.values())
                    raise WorkerError(f"worker {names} hangs: not one step in {limit} seconds")
        return [answers[at] for at in range(len(self._workers))]

    def _count_beats(self) -> int:
        return sum(self._shared.beats)

    def _receive(self, worker: _Worker) -> Any:
        try:
            answer = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise self._death(worker) from None
        except BlockingIOError:
            raise self._hanging(worker, "gives") from None
        if isinstance(answer, _Failed):
            error = WorkerError(f"worker {self._workers.index(worker)} failed: {answer.reason}")
            error.add_note(answer.details)
            raise error
        return answer

    def _hanging(self, worker: _Worker, does: str) -> WorkerError:
        return WorkerError(f"worker {self._workers.index(worker)} hangs: it {does} nothing in {HANG_SECONDS} seconds")

    def _death(self, worker: _Worker) -> WorkerError:
        worker.process.join(timeout=5)
        code = worker.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return WorkerError(f"worker {self._workers.index(worker)} (process {worker.process.pid}) ended {how}")


def _be_patient(pipe: Connection) -> None:
    """Have sending and receiving raise BlockingIOError once nothing is taken or given for `HANG_SECONDS`.

    Weights are more than a pipe holds: sending them would wait for ever for a worker that takes none.
    """
    # Pipes to and fro are sockets; options set by a copy are the socket's own.
    with socket.socket(fileno=os.dup(pipe.fileno())) as same:
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            same.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", HANG_SECONDS, 0))


def _spans(n_envs: int, workers: int) -> list[range]:
    """Environments split evenly, in order."""
    edges = [n_envs * at // workers for at in range(workers + 1)]
    return [range(low, high) for low, high in itertools.pairwise(edges)]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
