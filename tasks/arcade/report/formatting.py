"""Numbers as a person reads them."""

from __future__ import annotations

from tasks.arcade.scores import Estimate


def number(value: float | None) -> str:
    """A statistic as text: `-20.5`, `1,240`; `-` for none."""
    if value is None:
        return "-"
    return f"{value:z,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def score(value: float | None) -> str:
    """A human-normalized score as text: `0.83`; `-` for none."""
    return "-" if value is None else f"{value:z,.2f}"


def interval_text(estimate: Estimate | None, normalized: bool = False) -> str:
    """`18.3 [17.0, 19.1]`, without brackets where there is no interval."""
    words = score if normalized else number
    if estimate is None or estimate.low is None:
        return words(estimate.value if estimate else None)
    return f"{words(estimate.value)} [{words(estimate.low)}, {words(estimate.high)}]"


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.2 h`; `-` for none."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
