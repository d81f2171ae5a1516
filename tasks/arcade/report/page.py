"""Renders a comparison as one HTML page or as Markdown: verdict, synchronized videos, figures, tables.

The HTML page is self-contained: plotly.js and the videos are embedded, and its Content-Security-Policy forbids loading
anything but, on request, a full video. Names come from users: HTML and Markdown in them is escaped.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any

from tasks.arcade import scores
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.report.data import Comparison, VideoView, best_checkpoint
from tasks.arcade.report.embedded_videos import fit_video_budget
from tasks.arcade.report.figures import figures, mean_interval, sample_sizes
from tasks.arcade.report.findings import Findings, cautions, verdicts, worse
from tasks.arcade.report.formatting import format_duration, format_interval
from tasks.arcade.report.html import render_template
from tasks.arcade.report.plotly_html import plotly_js
from tasks.arcade.report.tables import (
    cost_rows,
    game_table,
    group_best_reason,
    parameter_table,
    pixels_table,
    run_best_reason,
    significance,
    total_cost,
)

MANY_RUNS = 12
"""With more runs, the table of single runs is collapsed."""


def render_report_html(findings: Findings) -> str:
    """Render one self-contained HTML page; the result is deterministic."""
    drawn = figures(findings)
    return _render(
        "report.html.j2",
        findings,
        None,
        videos=fit_video_budget(findings.videos),
        figures=drawn,
        collapsed=findings.comparison.normalized or len(findings.comparison.runs) > MANY_RUNS,
        plotly_js=plotly_js() if any(figure.plot for figure in drawn) else "",
    )


def render_report_markdown(findings: Findings) -> str:
    """Render the sentences and tables of the report, without figures and videos."""
    return _render("report.md.j2", findings, _escape_markdown)


def _render(template: str, findings: Findings, finalize: Callable[[Any], Any] | None, **values: Any) -> str:
    comparison, ranked = findings.comparison, findings.groups
    shared = {
        "comparison": comparison,
        "groups": ranked,
        "verdicts": verdicts(findings),
        "status": _headline_status(findings),
        "pairs": findings.pairs,
        "cautions": cautions(findings),
        "parameters": parameter_table(ranked),
        "games": game_table(ranked),
        "pixels": pixels_table(ranked),
        "costs": cost_rows(ranked),
        "total": total_cost(comparison.runs),
        "sizes": sample_sizes(ranked),
        "best": best_checkpoint,
        "chips": _chips(comparison),
        "has_intervals": {
            "results": any(group.iqm and group.iqm.low is not None for group in ranked),
            "pairs": any(verdict.probability.low is not None for _, _, verdict in findings.pairs),
            "checkpoints": any(row.low is not None for run in comparison.runs for row in run.checkpoints),
        },
    }
    return render_template(template, shared | values, _FILTERS, finalize)


def _headline_status(findings: Findings) -> str:
    """Return the CSS class of the headline."""
    if worse(findings):
        return "worse"
    return "significant" if findings.pairs and findings.pairs[0][2].significant else "undecided"


def _chips(comparison: Comparison) -> list[str]:
    """Return environments, settings and sizes as short labels."""
    skips = sorted({run.frame_skip for run in comparison.runs if run.frame_skip})
    probabilities = {run.repeat_action_probability for run in comparison.runs}
    sticky = sorted(value for value in probabilities if value is not None)
    return [
        *sorted({run.env_id for run in comparison.runs})[:6],
        *([f"frame skip {', '.join(skips)}"] if skips else []),
        *([f"sticky actions {', '.join(f'{value:g}' for value in sticky)}"] if sticky else []),
        pluralize(len({run.approach for run in comparison.runs}), "approach", "approaches"),
        pluralize(len(comparison.runs), "run"),
        *([comparison.created] if comparison.created else []),
    ]


def _player_data(video: VideoView) -> str:
    """Return the metadata of a video for the page's player, as JSON."""
    return json.dumps({"frames": video.frames, "episode": video.episode_frames, "fps": video.fps, "score": video.score})


def _escape_markdown(value: Any) -> Any:
    """Escape text so that Markdown shows it literally: no markup, HTML, links or table cells."""
    if not isinstance(value, str):
        return value
    one_line = html.escape(" ".join(value.split()), quote=False)
    return re.sub(r"[\\`*_|~]|\](?=[(\[:])", r"\\\g<0>", one_line)


_FILTERS: dict[str, Callable[..., Any]] = {
    "number": scores.format_number,
    "score": scores.format_score,
    "interval": format_interval,
    "mean_interval": mean_interval,
    "duration": format_duration,
    "p_value": lambda p_value: (
        scores.format_p_value(p_value).removeprefix("p = ").removeprefix("p ").removeprefix("p: ")
    ),
    "significance": significance,
    "group_best_reason": group_best_reason,
    "run_best_reason": run_best_reason,
    "unbroken": lambda sentence: re.sub(r" ([=<]) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", sentence),
    "exactly": lambda value: f"{value:,.10g}",
    "data_uri": lambda content, kind: f"data:{kind};base64," + base64.b64encode(content).decode(),
    "player_data": _player_data,
}
