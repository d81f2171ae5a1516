"""The scale of the fault tests, shown in the header."""

from __future__ import annotations

from helpers.scale import LONG


def pytest_report_header() -> str:
    return "faults: all of them" if LONG else "faults: those that take seconds; `make faults` runs all"
