"""Imports alone make a million objects, none of which is ever garbage: Python is told to look less often.

Without this a command, and a deployment's flow run, spends a third of its first and last seconds on looking.
"""

from __future__ import annotations

import gc


def look_rarely() -> None:
    """From the beginning of a process: for garbage among the youngest once in 100,000 objects instead of 700."""
    gc.set_threshold(100_000, 50, 100)


def leave_imports() -> None:
    """What is there by now is never looked through again, at the process's end neither."""
    gc.freeze()
