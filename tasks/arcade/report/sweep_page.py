"""Renders a hyperparameter sweep as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.report.html import render_template
from tasks.arcade.report.plotly_html import plotly_js, restyle_figure
from tasks.arcade.scores import format_number
from tasks.arcade.tuning.study import Figure, TrialRow, best_trial


def render_sweep_html(
    settings: SweepSettings, rows: Sequence[TrialRow], figures: Sequence[Figure], command: str
) -> str:
    """Render the best trial, Optuna's figures and a table of all trials.

    Args:
        settings: settings of the sweep.
        rows: trials, best first.
        figures: title, caption and plotly JSON of each of Optuna's figures.
        command: command that continues the sweep.
    """
    drawn = [
        (title, caption, restyle_figure(f"sweep-{index}", figure))
        for index, (title, caption, figure) in enumerate(figures)
    ]
    values = {
        "settings": settings,
        "rows": rows,
        "best": best_trial(rows),
        "names": list(dict.fromkeys(name for row in rows for name in row.params)),
        "counts": {state: sum(row.state == state for row in rows) for state in ("complete", "pruned", "failed")},
        "figures": drawn,
        "command": command,
        "plotly_js": plotly_js() if drawn else "",
    }
    return render_template("sweep.html.j2", values, {"number": format_number})
