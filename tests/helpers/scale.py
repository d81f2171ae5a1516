"""Scale of the fault tests: `make test` injects a few faults within seconds, `make faults` all of them."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

T = TypeVar("T")
LONG = os.environ.get("RAMREEL_FAULTS") == "long"
takes_minutes = pytest.mark.skipif(not LONG, reason="takes minutes: run `make faults`")


def sized(short: T, long: T) -> T:
    """Return the first value in `make test`, the second in `make faults`."""
    return long if LONG else short
