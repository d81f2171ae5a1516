"""Whether a process that makes no progress waits for its turn, or hangs."""

from __future__ import annotations

from pathlib import Path

_RUNNABLE = frozenset("RD")
"""States in proc(5): running or ready to run, and reading from a disk, such as memory that was swapped out."""


def is_runnable(process_id: int) -> bool:
    """Return whether a process would run if it got a CPU; False where the system does not report it."""
    try:
        # The name before the state may contain any character.
        fields = Path(f"/proc/{process_id}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] in _RUNNABLE
