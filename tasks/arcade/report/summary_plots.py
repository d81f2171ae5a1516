"""Figures that summarize approaches: point estimates with intervals, performance profiles, action frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.arcade.report.plot_elements import LineStyle, escape, line_trace, shade_traces, vertical_line
from tasks.arcade.report.plotly_html import PlotlyTrace, figure_html
from tasks.arcade.scores import Band, Estimate, FloatArray


@dataclass(frozen=True, slots=True)
class IntervalPoint:
    """An estimate in a row of an interval plot."""

    row: str
    estimate: Estimate
    style: LineStyle
    hover: str
    hollow: bool = False


def interval_plot(name: str, points: Sequence[IntervalPoint], measure: str, center: float | None = None) -> str:
    """Plot estimates with their intervals, one row per name; hollow ones slightly below the filled ones.

    Args:
        name: the figure's element is `plot-<name>`.
        points: the estimates.
        measure: title of the x-axis.
        center: probability at which neither side is better, marked by a line; the x-axis then covers 0 to 1.
    """
    rows = list(dict.fromkeys(escape(point.row) for point in points))
    traces = []
    for point in points:
        low, high = point.estimate.low, point.estimate.high
        color, symbol = point.style.color, point.style.symbol + ("-open" if point.hollow else "")
        trace: PlotlyTrace = {
            "type": "scatter",
            "mode": "markers",
            "x": [point.estimate.value],
            "y": [-rows.index(escape(point.row)) - (0.24 if point.hollow else 0)],
            "marker": {"size": 11, "color": color, "symbol": symbol, "line": {"width": 2, "color": color}},
            "hovertemplate": escape(point.hover) + "<extra></extra>",
            "showlegend": False,
            # On a narrow screen, half of a marker at the end of the axis would be cut off.
            "cliponaxis": False,
        }
        if low is not None and high is not None:
            ends = {"array": [high - point.estimate.value], "arrayminus": [point.estimate.value - low]}
            trace["error_x"] = ends | {"thickness": 1.5 if point.hollow else 3, "width": 6, "color": color}
        traces.append(trace)
    ticks = {"tickvals": [-row for row in range(len(rows))], "ticktext": rows, "tickfont": {"size": 12}}
    layout = {
        "shapes": [] if center is None else [vertical_line(center)],
        "xaxis": {"title_text": measure, "showgrid": True} | ({"range": [-0.03, 1.03]} if center is not None else {}),
        "yaxis": ticks | {"showgrid": False, "range": [0.6 - len(rows), 0.4]},
        "height": 90 + 44 * len(rows),
    }
    return figure_html(name, traces, layout, "closest")


def performance_profiles(
    name: str, thresholds: FloatArray, bands: Sequence[tuple[LineStyle, Band]], measure: str, units: str
) -> str:
    """Plot the share of `units` above each threshold with its interval."""
    traces = []
    for style, band in bands:
        traces += shade_traces(style, thresholds, band)
        traces.append(line_trace(style, thresholds, band.value, width=2.5, showlegend=True, hover="%{y:.0%}"))
    x_axis = {"title_text": f"{measure} τ", "showgrid": False}
    y_axis = {"title_text": f"fraction of {units} above τ", "tickformat": ".0%", "range": [-0.02, 1.02]}
    return figure_html(name, traces, {"xaxis": x_axis, "yaxis": y_axis}, "x unified")


def action_bars(name: str, frequencies: Sequence[tuple[LineStyle, dict[str, float]]]) -> str:
    """Plot the relative frequency of each action as grouped bars, one color per approach."""
    actions = list(dict.fromkeys(action for _, of_approach in frequencies for action in of_approach))
    traces = [
        {
            "type": "bar",
            "x": actions,
            "y": [round(of_approach.get(action, 0.0), 5) for action in actions],
            "name": style.label,
            "marker": {"color": style.color},
            "hovertemplate": f"{escape(style.name)}, %{{x}}: %{{y:.1%}}<extra></extra>",
            "showlegend": True,
        }
        for style, of_approach in frequencies
    ]
    axes = {
        "xaxis": {"title_text": "action", "showgrid": False},
        "yaxis": {"title_text": "relative frequency", "tickformat": ".0%"},
    }
    return figure_html(name, traces, axes | {"barmode": "group"}, "closest")
