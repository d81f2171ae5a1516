"""Processes for what holds Python's lock, as the emulator does: only so is it played side by side."""

from __future__ import annotations

import multiprocessing as mp
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


def processes(n: int, folder: Path, first: Callable[[], None] | None = None) -> ProcessPoolExecutor:
    """A pool of processes that end with this one, however it ends.

    Args:
        n: how many.
        folder: what they work in; removed by them when this process was killed and could not.
        first: called in each of them before anything else.
    """
    return ProcessPoolExecutor(n, mp.get_context("spawn"), _begin, (folder, first))


def in_a_process(folder: Path, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """What a function gives that is called in a process of its own, which works in a folder as in `processes`.

    Raises:
        BrokenProcessPool: the process died.
    """
    with processes(1, folder) as pool:
        return pool.submit(work, *args, **kwargs).result()


def _begin(folder: Path, first: Callable[[], None] | None) -> None:
    parent = mp.parent_process()
    assert parent is not None

    def look() -> None:
        # A parent that is killed can tell its processes nothing and clean up nothing: they look for themselves.
        wait([parent.sentinel])
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=look, name="ramreel-parent", daemon=True).start()
    if first:
        first()
