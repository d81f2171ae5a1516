"""Values → one HTML file, or Markdown, that compares runs: verdict, videos in step, figures, tables.

The HTML needs nothing beside it and no network: plotly.js and the videos are inside, and a Content-Security-Policy in
the file forbids it to load anything. Names come from users: whatever they hold is shown as text.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any

from tasks.arcade.report import plots as curves
from tasks.arcade.report.data import Comparison, VideoView, best_checkpoint
from tasks.arcade.report.embedded_videos import within_budget
from tasks.arcade.report.figures import figures, mean_interval, sizes
from tasks.arcade.report.findings import Findings, cautions, verdicts, worse
from tasks.arcade.report.formatting import duration, interval_text, number, score
from tasks.arcade.report.groups import counted
from tasks.arcade.report.html import render
from tasks.arcade.report.tables import cost_rows, game_table, parameter_table, total_cost

MANY_RUNS = 12
"""Beyond so many the runs have a table of their own, folded up."""


def render_html(found: Findings) -> str:
    """One self-contained HTML page; the same comparison gives the same text."""
    drawn = figures(found)
    return _render(
        "report.html.j2",
        found,
        None,
        videos=within_budget(found.comparison.runs),
        figures=drawn,
        many=len(found.comparison.runs) > MANY_RUNS,
        plotly_js=curves.plotly_js() if any(figure.plot for figure in drawn) else "",
    )


def render_markdown(found: Findings) -> str:
    """The report's words and tables in Markdown, without figures and videos."""
    return _render("report.md.j2", found, _markdown_text)


def _render(template: str, found: Findings, finalize: Callable[[Any], Any] | None, **values: Any) -> str:
    comparison, ranked = found.comparison, found.groups
    shared = {
        "comparison": comparison,
        "groups": ranked,
        "verdicts": verdicts(found),
        "tone": _tone(found),
        "pairs": found.pairs,
        "cautions": cautions(found),
        "parameters": parameter_table(ranked),
        "games": game_table(ranked),
        "costs": cost_rows(ranked),
        "total": total_cost(comparison.runs),
        "sizes": sizes(ranked),
        "best": best_checkpoint,
        "chips": _chips(comparison),
    }
    return render(template, shared | values, _FILTERS, finalize)


def _tone(found: Findings) -> str:
    """How the headline looks: a difference that is real, one that got worse, or nothing known."""
    if worse(found):
        return "worse"
    return "real" if found.pairs and found.pairs[0][2].decided else "open"


def _chips(comparison: Comparison) -> list[str]:
    """What was played, in a few words each."""
    skips = sorted({run.frame_skip for run in comparison.runs if run.frame_skip})
    sticky = sorted({run.sticky for run in comparison.runs if run.sticky is not None})
    return [
        *sorted({run.env_id for run in comparison.runs})[:6],
        *([f"frame skip {', '.join(skips)}"] if skips else []),
        *([f"sticky actions {', '.join(f'{one:g}' for one in sticky)}"] if sticky else []),
        counted(len({run.approach for run in comparison.runs}), "approach", "approaches"),
        counted(len(comparison.runs), "run"),
        *([comparison.made] if comparison.made else []),
    ]


def _video_facts(video: VideoView) -> str:
    """What the player needs to know of a video, as JSON."""
    return json.dumps({"frames": video.frames, "episode": video.episode_frames, "fps": video.fps, "score": video.score})


def _markdown_text(value: Any) -> Any:
    """Text that Markdown shows as it is: no markup, no HTML, no link, no end of a table cell."""
    if not isinstance(value, str):
        return value
    one_line = html.escape(" ".join(value.split()), quote=False)
    return re.sub(r"[\\`*_|~]|\](?=[(\[:])", r"\\\g<0>", one_line)


_FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "score": score,
    "interval": interval_text,
    "mean_interval": mean_interval,
    "duration": duration,
    "tied": lambda sentence: sentence.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"),
    "exactly": lambda value: f"{value:,.10g}",
    "data_uri": lambda mp4: "data:video/mp4;base64," + base64.b64encode(mp4).decode(),
    "video_facts": _video_facts,
}
