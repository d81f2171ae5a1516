"""Times of what a user waits for."""

from __future__ import annotations

import time
from collections.abc import Callable


def fastest(action: Callable[[], object], times: int = 3) -> float:
    """Return the seconds that an action takes, the fastest of some times."""
    seconds = []
    for _ in range(times):
        start = time.monotonic()
        action()
        seconds.append(time.monotonic() - start)
    return round(min(seconds), 2)
