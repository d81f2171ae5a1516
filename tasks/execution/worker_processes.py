"""Worker processes for code that holds the GIL, as the emulator does."""

from __future__ import annotations

import multiprocessing as mp
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tasks.arcade.errors import RamreelError

_P = ParamSpec("_P")
_T = TypeVar("_T")


class SharedMemoryError(RamreelError):
    """Worker processes cannot share memory on this machine."""


def check_shared_memory() -> None:
    """Check that worker processes can share memory and locks, which are files in /dev/shm.

    Raises:
        SharedMemoryError: they cannot.
    """
    context = mp.get_context("spawn")
    try:
        context.Lock()
        context.RawArray("b", 1)
    except OSError as error:
        raise SharedMemoryError(
            f"Worker processes need shared memory, but /dev/shm cannot be used ({error.strerror}): mount a writable "
            "tmpfs there"
        ) from None


def process_pool(n: int, scratch: Path, initializer: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """Return a pool of processes that end with this one, even if it is killed.

    Args:
        n: number of processes.
        scratch: their working files; the processes remove it if this process is killed.
        initializer: called first in each process.
    """
    return ProcessPoolExecutor(n, mp.get_context("spawn"), _initialize, (scratch, initializer, None))


def run_in_process(scratch: Path, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call a function in a process of its own and return its result; `scratch` as in `process_pool`.

    Raises:
        BrokenProcessPool: the process died.
    """
    with process_pool(1, scratch) as pool:
        return pool.submit(function, *args, **kwargs).result()


def run_with_progress(
    scratch: Path, on_progress: Callable[[Any], object], function: Callable[..., _T], *args: object
) -> _T:
    """Call a function in a process of its own and return its result; `scratch` as in `process_pool`.

    Args:
        scratch: working files of the process.
        on_progress: called in this process, in a thread, with what the function passes to its argument `on_progress`.
        function: the function.
        args: its other arguments.

    Raises:
        BrokenProcessPool: the process died.
    """
    receiver, sender = mp.get_context("spawn").Pipe(duplex=False)
    reader = threading.Thread(
        target=copy_context().run, args=(_receive, receiver, on_progress), name="ramreel-progress", daemon=True
    )
    reader.start()
    with ProcessPoolExecutor(1, mp.get_context("spawn"), _initialize, (scratch, None, sender)) as pool:
        try:
            future = pool.submit(_call_with_progress, function, args)
        finally:
            # The reader ends with the process, which then has the only other end.
            sender.close()
        result = future.result()
    reader.join()
    return result


def _receive(receiver: Connection, on_progress: Callable[[Any], object]) -> None:
    with receiver, suppress(EOFError, OSError):
        while True:
            on_progress(receiver.recv())


_sender: Connection | None = None
"""In a process of `run_with_progress`, the connection to its parent."""


def _call_with_progress(function: Callable[..., _T], args: tuple[object, ...]) -> _T:
    assert _sender is not None
    return function(*args, on_progress=_sender.send)


def _initialize(scratch: Path, initializer: Callable[[], None] | None, sender: Connection | None) -> None:
    global _sender  # noqa: PLW0603 - a function that a pool calls cannot receive a connection
    _sender = sender
    end_with_parent(lambda: shutil.rmtree(scratch, ignore_errors=True))
    if initializer:
        initializer()


def end_with_parent(clean_up: Callable[[], object] = lambda: None) -> None:
    """End this process when its parent ends; a killed parent can neither signal its processes nor clean up."""
    parent = mp.parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        wait([parent.sentinel])
        clean_up()
        os._exit(1)

    threading.Thread(target=exit_with_parent, name="ramreel-parent", daemon=True).start()
