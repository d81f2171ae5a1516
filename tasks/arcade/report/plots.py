"""Values → the HTML of interactive figures: the only room that knows plotly.

Names come from users: whatever they hold is shown as text.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.arcade import scores
from tasks.arcade.scores import Band, Estimate, FloatArray

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a step.

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
class Look:
    """What an approach is called and drawn with; `dash` and `symbol` are plotly's words."""

    name: str
    size: str
    color: str
    dash: str
    symbol: str

    @property
    def label(self) -> str:
        """Name and number of seeds and episodes, as the legend has it."""
        return f"{self.name} <span style='font-size:11px'>· {_text(self.size)}</span>" if self.size else self.name


@dataclass(frozen=True, slots=True)
class Family:
    """The curves of one approach, all of one look."""

    look: Look
    curves: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """An estimate on a row of its own."""

    row: str
    estimate: Estimate
    look: Look
    words: str
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """A published value to stand beside: a dotted line across a figure."""

    name: str
    value: float


def plotly_js() -> str:
    """The script that a page with figures needs, once."""
    import plotly.offline

    return str(plotly.offline.get_plotlyjs())


def efficiency(name: str, families: Sequence[Family], measure: str, levels: Sequence[Level] = ()) -> str:
    """What was learned from how many steps: of each approach the interquartile mean over runs with its interval.

    Args:
        name: the figure's element is `plot-<name>`.
        families: one an approach, in the order of the legend.
        measure: the title of the upward axis.
        levels: that are drawn as far as they lie near the curves.

    Returns:
        The figure without `plotly_js`; empty where there is nothing to draw.
    """
    grid = _grid(families)
    traces = [trace for family in families for trace in _middle(family, grid)]
    return _steps_figure(name, traces, measure, "x unified", levels)


def without_line(families: Sequence[Family]) -> tuple[str, ...]:
    """Names of the approaches whose runs share no step of a figure: they have no line in it."""
    grid = _grid(families)
    bands = ((family.look.name, _band(family, grid)) for family in families)
    return tuple(name for name, band in bands if band and not np.isfinite(band.value).any())


def every_run(name: str, families: Sequence[Family], measure: str) -> str:
    """Each run's own curve, thin, in its approach's color; otherwise as `efficiency`."""
    grid = _grid(families)
    traces = []
    for family in families:
        for number, curve in enumerate(curve for curve in family.curves if curve.points):
            values = scores.curve_on_grid(_steps(curve), _values(curve), grid)
            said = f"{_text(curve.name)}: %{{y:.5~g}} at %{{x:,.0f}}<extra></extra>"
            shown: Trace = {"hovertemplate": said, "showlegend": number == 0, "opacity": 0.8}
            traces.append(_line(family.look, grid, values, width=1.4, **shown))
    return _steps_figure(name, traces, measure, "closest")


def evaluation(name: str, families: Sequence[Family], measure: str, levels: Sequence[Level] = ()) -> str:
    """Each run's checkpoints as markers, and over them the approaches as in `efficiency`."""
    grid = _grid(families)
    traces = []
    for family in families:
        curves, middle = [curve for curve in family.curves if curve.points], _middle(family, grid)
        for number, curve in enumerate(curves):
            in_legend = number == 0 and not middle
            traces.append(_markers(family.look, curve, alone=len(curves) == 1, showlegend=in_legend))
        traces += middle
    return _steps_figure(name, traces, measure, "closest", levels)


def dots(name: str, found: Sequence[Dot], measure: str, middle: float | None = None) -> str:
    """Estimates with their intervals, a row for each name, hollow ones a little lower; a line marks the middle."""
    rows = list(dict.fromkeys(_text(dot.row) for dot in found))
    traces = []
    for dot in found:
        low, high = dot.estimate.low, dot.estimate.high
        marker = {"size": 11, "color": dot.look.color, "symbol": dot.look.symbol + ("-open" if dot.hollow else "")}
        trace: Trace = {
            "type": "scatter",
            "mode": "markers",
            "x": [dot.estimate.value],
            "y": [-rows.index(_text(dot.row)) - (0.24 if dot.hollow else 0)],
            "marker": marker | {"line": {"width": 2, "color": dot.look.color}},
            "hovertemplate": _text(dot.words) + "<extra></extra>",
            "showlegend": False,
        }
        if low is not None and high is not None:
            reach = {"array": [high - dot.estimate.value], "arrayminus": [dot.estimate.value - low]}
            width = 1.5 if dot.hollow else 3
            trace["error_x"] = reach | {"thickness": width, "width": 6, "color": dot.look.color}
        traces.append(trace)
    ticks = {"tickvals": [-row for row in range(len(rows))], "ticktext": rows, "tickfont": {"size": 12}}
    layout = {
        "shapes": [] if middle is None else [_upright(middle)],
        "xaxis": {"title_text": measure, "showgrid": True} | ({"range": [-0.03, 1.03]} if middle is not None else {}),
        "yaxis": ticks | {"showgrid": False, "range": [0.6 - len(rows), 0.4]},
        "height": 90 + 44 * len(rows),
    }
    return _html(name, traces, layout, "closest")


def _upright(at: float) -> Trace:
    line = {"color": "#8a94a1", "width": 1, "dash": "dot"}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def profiles(name: str, thresholds: FloatArray, bands: Sequence[tuple[Look, Band]], measure: str, what: str) -> str:
    """Performance profiles: the share of `what` above each threshold, with its interval as a shade."""
    traces = []
    for look, band in bands:
        traces += _shade(look, thresholds, band)
        traces.append(_line(look, thresholds, band.value, width=2.5, showlegend=True, said="%{y:.0%}"))
    axis = {"title_text": f"{measure} τ", "showgrid": False}
    upward = {"title_text": f"share of {what} above τ", "tickformat": ".0%", "range": [-0.02, 1.02]}
    return _html(name, traces, {"xaxis": axis, "yaxis": upward}, "x unified")


def bars(name: str, shares: Sequence[tuple[Look, dict[str, float]]]) -> str:
    """How often each action was chosen: grouped bars, one color an approach."""
    actions = list(dict.fromkeys(action for _, of_look in shares for action in of_look))
    traces = [
        {
            "type": "bar",
            "x": actions,
            "y": [round(of_look.get(action, 0.0), 5) for action in actions],
            "name": _label(look),
            "marker": {"color": look.color},
            "hovertemplate": f"{_text(look.name)}, %{{x}}: %{{y:.1%}}<extra></extra>",
            "showlegend": True,
        }
        for look, of_look in shares
    ]
    axes = {
        "xaxis": {"title_text": "action", "showgrid": False},
        "yaxis": {"title_text": "share", "tickformat": ".0%"},
    }
    return _html(name, traces, axes | {"barmode": "group"}, "closest")


def restyled(name: str, figure: Trace) -> str:
    """Another library's plotly figure in the page's colors; otherwise as the figures above."""
    layout = {key: value for key, value in figure["layout"].items() if key not in ("template", "title")}
    return _html(name, figure["data"], layout, str(layout.pop("hovermode", "closest")))


def _text(words: str) -> str:
    return html.escape(words, quote=False)


def _label(look: Look) -> str:
    return Look(_text(look.name), look.size, look.color, look.dash, look.symbol).label


def _grid(families: Sequence[Family]) -> FloatArray:
    return scores.common_grid([[point.step for point in curve.points] for one in families for curve in one.curves])


def _middle(family: Family, grid: FloatArray) -> list[Trace]:
    """An approach's interquartile mean over runs, and the shade of its interval; nothing where no step is shared."""
    band = _band(family, grid)
    if band is None or not np.isfinite(band.value).any():
        return []
    return [*_shade(family.look, grid, band), _line(family.look, grid, band.value, width=3, showlegend=True)]


def _band(family: Family, grid: FloatArray) -> Band | None:
    curves = [curve for curve in family.curves if curve.points]
    if not curves:
        return None
    return scores.band_over_seeds([scores.curve_on_grid(_steps(curve), _values(curve), grid) for curve in curves])


def _steps(curve: Curve) -> FloatArray:
    return np.array([point.step for point in curve.points], np.float64)


def _values(curve: Curve) -> FloatArray:
    return np.array([point.value for point in curve.points], np.float64)


def _line(
    look: Look, steps: FloatArray, values: FloatArray, width: float, said: str = "%{y:.5~g}", **more: Any
) -> Trace:
    known = np.isfinite(values)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": steps[known].tolist(),
        "y": [float(f"{value:.5g}") for value in values[known]],
        "name": _label(look),
        "legendgroup": _text(look.name),
        "showlegend": False,
        "line": {"color": look.color, "width": width, "dash": look.dash},
        "hovertemplate": f"{_text(look.name)}: {said}<extra></extra>",
        **more,
    }


def _shade(look: Look, grid: FloatArray, band: Band) -> list[Trace]:
    known = np.isfinite(band.low) & np.isfinite(band.high)
    if not known.any():
        return []
    outline = np.concatenate([grid[known], grid[known][::-1]])
    edge = np.concatenate([band.high[known], band.low[known][::-1]])
    filled: Trace = {
        "hoverinfo": "skip",
        "hovertemplate": None,
        "fill": "toself",
        "fillcolor": look.color,
        "opacity": 0.16,
    }
    return [_line(look, outline, edge, width=0, **filled)]


def _markers(look: Look, curve: Curve, *, alone: bool, showlegend: bool) -> Trace:
    """A marker for each point; its interval only where no other run crowds it."""
    trace = _line(
        look,
        _steps(curve),
        _values(curve),
        width=1,
        showlegend=showlegend,
        opacity=1 if alone else 0.75,
        mode="lines+markers",
        marker={"size": 6, "color": look.color, "symbol": look.symbol},
        text=[_text(point.words) for point in curve.points],
        hovertemplate=_text(curve.name) + "<br>%{text}<extra></extra>",
    )
    if not alone:
        return trace
    bars_of = {
        "array": [None if point.high is None else point.high - point.value for point in curve.points],
        "arrayminus": [None if point.low is None else point.value - point.low for point in curve.points],
    }
    return trace | {"error_y": bars_of | {"thickness": 1.2, "width": 4}}


# A finger on a plot is to scroll the page, not to zoom the plot.
_SCROLL_BY_FINGER = "if (matchMedia('(pointer: coarse)').matches) Plotly.relayout('{plot_id}', {dragmode: false});"
_BUTTONS = ("select2d", "lasso2d", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d")


def _steps_figure(
    name: str, traces: Sequence[Trace], measure: str, hovermode: str, levels: Sequence[Level] = ()
) -> str:
    if not traces:
        return ""
    steps = {"title_text": "step", "tickformat": "~s", "hoverformat": ",.0f", "showgrid": False}
    axes: Trace = {"xaxis": steps, "yaxis": {"title_text": measure}}
    return _html(name, traces, _with_levels(axes, levels, traces), hovermode)


_NAME = 0.08
"""A name's share of a figure's height."""


def _with_levels(axes: Trace, levels: Sequence[Level], traces: Sequence[Trace]) -> Trace:
    """Lines that leave the curves about half of the height: a human may score a hundred times as much."""
    if not levels:
        return axes
    drawn: list[float] = [y for trace in traces for y in trace["y"]]
    low, high = min(drawn), max(drawn)
    # Curves that are flat have a height all the same.
    height = max(high - low, abs(high) / 10)
    near = [level for level in levels if high - 2 * height <= level.value <= low + 2 * height]
    # Where curves begin, as good as at random play, no name can be read: it stands below its line, where room is made.
    ground = min((level.value for level in near if level.value <= low + height / 10), default=None)
    lines = axes | {"shapes": [_across(level, level.value > high or level.value == ground) for level in near]}
    if ground is None:
        return lines
    top = max(high, *(level.value for level in near))
    return lines | {"yaxis": axes["yaxis"] | {"autorangeoptions": {"include": ground - _NAME * (top - ground)}}}


def _across(level: Level, name_below: bool) -> Trace:
    """A level's line with its name, behind the curves."""
    line = {"color": "#8a94a1", "width": 1, "dash": "dot"}
    label = {
        "text": _text(level.name),
        "textposition": "start",
        "yanchor": "top" if name_below else "bottom",
        "font": {"size": 11},
    }
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": level.value, "y1": level.value}
    return {"type": "line", "layer": "below", "line": line, "label": label} | ends


def _html(name: str, traces: Sequence[Trace], layout: Trace, hovermode: str) -> str:
    """The page's style sheet colors text and grid, for light and for dark."""
    import plotly.io

    axis = {"zeroline": False, "automargin": True, "ticks": "", "title": {"font": {"size": 12}}}
    height = layout.get("height", 360)
    whole = layout | {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {"font": {"family": "system-ui, sans-serif", "size": 12}},
        "margin": {"l": 8, "r": 32, "t": 8, "b": 8},
        "hovermode": hovermode,
        # What lies above one step is shown wherever between two steps the mouse is.
        "hoverdistance": -1 if hovermode == "x unified" else 20,
        # Where a finger hovers over nothing the buttons are always there: in the margin they hide neither legend nor
        # a curve's end.
        "modebar": {"orientation": "v"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": axis | layout.get("xaxis", {}),
        "yaxis": axis | {"fixedrange": True} | layout.get("yaxis", {}),
    }
    config = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": list(_BUTTONS)}
    return str(
        plotly.io.to_html(
            {"data": list(traces), "layout": whole},
            config=config,
            include_plotlyjs=False,
            include_mathjax=False,
            full_html=False,
            div_id=f"plot-{name}",
            default_height=f"{height}px",
            post_script=_SCROLL_BY_FINGER,
        )
    )
