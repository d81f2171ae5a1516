"""`make test` injects those faults that take seconds, a few of each, `make faults` all that were promised."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")
LONG = os.environ.get("RAMREEL_FAULTS") == "long"
takes_minutes = pytest.mark.skipif(not LONG, reason="takes minutes: `make faults` does it")


def sized(short: T, long: T) -> T:
    """The first in `make test`, the second in `make faults`."""
    return long if LONG else short
