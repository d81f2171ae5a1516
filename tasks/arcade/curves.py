"""Learning curves → the HTML of one interactive figure: the only room that knows plotly.

Names come from users: whatever they hold is shown as text.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.arcade import scores
from tasks.arcade.scores import FloatArray

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """A return at a step.

    Attributes:
        low: of its interval; none: there is none.
        high: likewise.
        words: what is said of it beside a marker.
    """

    step: int
    value: float
    low: float | None = None
    high: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One run's points, in rising order of their steps."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """The curves of one approach, all of one look; `dash` and `symbol` are plotly's words."""

    name: str
    colour: str
    dash: str
    symbol: str
    curves: tuple[Curve, ...]


def plotly_js() -> str:
    """The script that a page with figures needs, once."""
    import plotly.offline

    return str(plotly.offline.get_plotlyjs())


def figure(name: str, families: Sequence[Family], *, marked: bool) -> str:
    """A figure of episode returns by step, without `plotly_js`; empty where there is nothing to draw.

    Of each approach: the range of its runs as a shade, each run, and their mean.

    Args:
        name: the figure's element is `plot-<name>`.
        families: one an approach, in the order of the legend.
        marked: runs are drawn as their own points, with a marker and words for each, instead of as thin lines.
    """
    grid = scores.common_grid([[point.step for point in curve.points] for one in families for curve in one.curves])
    traces = [trace for family in families for trace in _family(family, grid, marked)]
    return _html(name, traces, "closest" if marked else "x unified") if traces else ""


def _family(family: Family, grid: FloatArray, marked: bool) -> list[Trace]:
    curves = [curve for curve in family.curves if curve.points]
    if not curves:
        return []
    values = [scores.curve_on_grid(_steps(curve), _values(curve), grid) for curve in curves]
    band = scores.band_over_seeds(values)
    traces = [_shade(family, grid, band)] if len(curves) > 1 else []
    if marked:
        traces += [_markers(family, curve, alone=len(curves) == 1) for curve in curves]
    else:
        traces += [
            _line(family, grid, of_run, width=1, opacity=0.55, hovertemplate=None, hoverinfo="skip")
            for of_run in values
        ]
    return [*traces, _line(family, grid, band.mean, width=3, showlegend=True)]


def _steps(curve: Curve) -> FloatArray:
    return np.array([point.step for point in curve.points], np.float64)


def _values(curve: Curve) -> FloatArray:
    return np.array([point.value for point in curve.points], np.float64)


def _line(family: Family, steps: FloatArray, values: FloatArray, width: float, **more: Any) -> Trace:
    known = np.isfinite(values)
    name = html.escape(family.name, quote=False)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": steps[known].tolist(),
        "y": [float(f"{value:.5g}") for value in values[known]],
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "line": {"color": family.colour, "width": width, "dash": family.dash},
        "hovertemplate": f"{name}: %{{y:.1f}}<extra></extra>",
        **more,
    }


def _shade(family: Family, grid: FloatArray, band: scores.Band) -> Trace:
    known = np.isfinite(band.mean)
    outline = np.concatenate([grid[known], grid[known][::-1]])
    edge = np.concatenate([band.high[known], band.low[known][::-1]])
    return _line(family, outline, edge, width=0, hoverinfo="skip", fill="toself", fillcolor=family.colour, opacity=0.16)


def _markers(family: Family, curve: Curve, *, alone: bool) -> Trace:
    """A marker for each point; its interval only where no other run crowds it."""
    trace = _line(
        family,
        _steps(curve),
        _values(curve),
        width=1,
        opacity=1 if alone else 0.55,
        mode="lines+markers",
        marker={"size": 7, "color": family.colour, "symbol": family.symbol},
        text=[point.words for point in curve.points],
        hovertemplate=html.escape(curve.name, quote=False) + "<br>%{text}<extra></extra>",
    )
    if not alone:
        return trace
    bars = {
        "array": [None if point.high is None else point.high - point.value for point in curve.points],
        "arrayminus": [None if point.low is None else point.value - point.low for point in curve.points],
    }
    return trace | {"error_y": bars | {"thickness": 1.2, "width": 4}}


# A finger on a plot is to scroll the page, not to zoom the plot.
_SCROLL_BY_FINGER = "if (matchMedia('(pointer: coarse)').matches) Plotly.relayout('{plot_id}', {dragmode: false});"


def _html(name: str, traces: Sequence[Trace], hovermode: str) -> str:
    """The page's style sheet colours text and grid, for light and for dark."""
    import plotly.io

    axis = {"zeroline": False, "automargin": True, "ticks": "", "title": {"font": {"size": 12}}}
    layout = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"font": {"family": "system-ui, sans-serif", "size": 12}},
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": hovermode,
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": axis | {"title_text": "step", "tickformat": "~s", "hoverformat": ",.0f", "showgrid": False},
        "yaxis": axis | {"title_text": "episode return", "fixedrange": True},
    }
    return str(
        plotly.io.to_html(
            {"data": list(traces), "layout": layout},
            config={"responsive": True, "displaylogo": False, "displayModeBar": False},
            include_plotlyjs=False,
            include_mathjax=False,
            full_html=False,
            div_id=f"plot-{name}",
            default_height="360px",
            post_script=_SCROLL_BY_FINGER,
        )
    )
