"""A training that is told to stop keeps what it has learned: by SIGTERM, as Prefect sends it, or by a judge."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from tasks.arcade.progress import Progress

PATIENCE_SECONDS = 6
"""For which a rollout may go on; a training that is cancelled has to be gone within ten."""

Judge = Callable[[Progress], bool]
"""Whether a training that is this far is worth no more steps."""
_judge: ContextVar[Judge | None] = ContextVar("judge", default=None)


@contextmanager
def judged(judge: Judge) -> Iterator[None]:
    """A training inside ends as soon as the judge says so, as if its steps were over."""
    token = _judge.set(judge)
    try:
        yield
    finally:
        _judge.reset(token)


def enough(progress: Progress) -> bool:
    """What the judge says, if there is one."""
    judge = _judge.get()
    return judge is not None and judge(progress)


class Stop:
    """Whether somebody has asked for a stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        self._asked.set()


@contextmanager
def stoppable() -> Iterator[Stop]:
    """SIGTERM only asks, at first; `stop_now`, a failure or the end of patience has it do what it did before.

    Outside of the main thread, which alone hears signals, nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(PATIENCE_SECONDS, stop_now)

    def ask(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, before)
        stop.ask()
        timer.start()

    signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    except Exception:
        # What failed may be tried again, but not by a process that is to stop.
        if stop.asked:
            stop_now()
        raise
    else:
        # What was asked for while the last checkpoint was on its way: a pipeline or a sweep would go on otherwise.
        if stop.asked:
            stop_now()
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


def stop_now() -> None:
    """Stop this process as whoever sent the signal wanted it."""
    os.kill(os.getpid(), signal.SIGTERM)
