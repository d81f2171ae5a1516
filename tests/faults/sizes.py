"""`make test` injects a few faults of each kind, `make faults` as many, and as long ones, as were promised."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")
LONG = os.environ.get("RAMREEL_FAULTS") == "long"


def sized(short: T, long: T) -> T:
    """The first in `make test`, the second in `make faults`."""
    return long if LONG else short
