"""Numbers, intervals and durations as text."""

from __future__ import annotations

from tasks.arcade.scores import Estimate, format_number, format_score


def format_interval(estimate: Estimate | None, normalized: bool = False) -> str:
    """`18.3 [17.0, 19.1]`, or `18.3` if there is no interval."""
    to_text = format_score if normalized else format_number
    if estimate is None or estimate.low is None:
        return to_text(estimate.value if estimate else None)
    return f"{to_text(estimate.value)} [{to_text(estimate.low)}, {to_text(estimate.high)}]"


def format_duration(seconds: float | None) -> str:
    """`45 s`, `12 min`, `3.2 h`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"
