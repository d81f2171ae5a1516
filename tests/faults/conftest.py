"""What the faults share: whether they are short or long, and a training that nobody disturbs, to compare with."""

from __future__ import annotations

from helpers.scale import LONG


def pytest_report_header() -> str:
    return (
        "faults: as many and as long as promised" if LONG else "faults: those that take seconds; `make faults` does all"
    )
