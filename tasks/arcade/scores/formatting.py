"""Returns, scores and p-values as text."""

from __future__ import annotations


def format_number(value: float | None) -> str:
    """`-20.5`, `1,240`; `-` for None."""
    if value is None:
        return "-"
    return f"{value:z,.1f}" if abs(value) < 1000 else f"{value:,.0f}"


def format_score(value: float | None) -> str:
    """Return a human-normalized score as text: `0.83`; `-` for None."""
    return "-" if value is None else f"{value:z,.2f}"


def format_p_value(p_value: float | None) -> str:
    """`p = 0.20`, `p = 0.029`, `p < 0.001`; `p: not tested` for None."""
    if p_value is None:
        return "p: not tested"
    if p_value < 0.001:
        return "p < 0.001"
    return f"p = {p_value:.3f}" if p_value < 0.1 else f"p = {p_value:.2f}"
