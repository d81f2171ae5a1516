"""Graceful stop: a training run that receives SIGTERM, as Prefect sends it on cancellation, saves a last checkpoint.

There is no time limit of its own: Prefect kills a canceled flow run after 30 seconds, and a second SIGTERM stops at
once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether SIGTERM was received."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self) -> None:
        self._event.set()


@contextmanager
def defer_sigterm() -> Iterator[StopRequest]:
    """Turn the first SIGTERM into a request; `stop_now`, a failure or the end of the block raises it again.

    Does nothing outside the main thread, the only one that receives signals.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.getsignal(signal.SIGTERM)

    def handle(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, previous)
        stop.request()

    signal.signal(signal.SIGTERM, handle)
    try:
        yield stop
    except Exception:
        # A task that failed may be retried, but not by a process that has to stop.
        if stop.requested:
            stop_now()
        raise
    else:
        # Requested while the last checkpoint was being stored: a pipeline or a sweep would continue otherwise.
        if stop.requested:
            stop_now()
    finally:
        signal.signal(signal.SIGTERM, previous)


def treat_hangup_as_sigterm() -> None:
    """Stop on SIGHUP, as a closed terminal sends it, like on SIGTERM, unless `nohup` has this process ignore it."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL:
        return

    def handle(_: int, __: FrameType | None) -> None:
        # The shell and the kernel each send one, and a second SIGTERM would stop without a last checkpoint.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        stop_now()

    signal.signal(signal.SIGHUP, handle)


def stop_now() -> None:
    """Send SIGTERM to this process."""
    os.kill(os.getpid(), signal.SIGTERM)
