"""A sweep as one HTML page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.report import plots as curves
from tasks.arcade.report.formatting import number
from tasks.arcade.report.html import render
from tasks.arcade.tuning import Figure, SweepSettings, TrialRow, best_of


def render_html(settings: SweepSettings, rows: Sequence[TrialRow], figures: Sequence[Figure], command: str) -> str:
    """The page: the best trial, Optuna's figures, every trial.

    Args:
        settings: what was asked for.
        rows: the trials, the best one first.
        figures: Optuna's.
        command: that goes on with the sweep.
    """
    drawn = [
        (title, words, curves.restyled(f"sweep-{at}", figure)) for at, (title, words, figure) in enumerate(figures)
    ]
    values = {
        "settings": settings,
        "rows": rows,
        "best": best_of(rows),
        "names": list(dict.fromkeys(name for row in rows for name in row.given)),
        "counts": {state: sum(row.state == state for row in rows) for state in ("complete", "pruned", "failed")},
        "figures": drawn,
        "command": command,
        "plotly_js": curves.plotly_js() if drawn else "",
    }
    return render("sweep.html.j2", values, {"number": number})
