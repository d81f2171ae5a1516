"""Lines, shaded intervals and reference lines that several figures share.

Names come from users: HTML in them is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.arcade.report.plotly_html import PlotlyLayout, PlotlyTrace
from tasks.arcade.scores import Band, FloatArray

REFERENCE_COLOR = "#8a94a1"
"""Color of what is not of the compared runs."""
_GRAY_DOTTED = {"color": REFERENCE_COLOR, "width": 1, "dash": "dot"}
_LABEL_HEIGHT = 0.08
"""Height of a reference line's label as a share of the figure's height."""
_LABEL_WIDTH = 0.25
"""Width of its label as a share of the figure's width, on a narrow screen."""


@dataclass(frozen=True, slots=True)
class LineStyle:
    """Name and style of an approach; `dash` and `symbol` are plotly's."""

    name: str
    size: str
    color: str
    dash: str
    symbol: str

    @property
    def label(self) -> str:
        """Legend label: name, and number of seeds and episodes."""
        name = escape(self.name)
        return f"{name} <span style='font-size:11px'>· {escape(self.size)}</span>" if self.size else name


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """A published value, drawn as a dotted line across a figure."""

    name: str
    value: float


def escape(text: str) -> str:
    """Return text as plotly shows it literally."""
    return html.escape(text, quote=False)


def line_trace(
    style: LineStyle, steps: FloatArray, values: FloatArray, width: float, hover: str = "%{y:.5~g}", **more: Any
) -> PlotlyTrace:
    """Return a line through all finite values."""
    known = np.isfinite(values)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": steps[known].tolist(),
        "y": [float(f"{value:.5g}") for value in values[known]],
        "name": style.label,
        "legendgroup": escape(style.name),
        "showlegend": False,
        "line": {"color": style.color, "width": width, "dash": style.dash},
        "hovertemplate": f"{escape(style.name)}: {hover}<extra></extra>",
        **more,
    }


def shade_traces(style: LineStyle, grid: FloatArray, band: Band) -> list[PlotlyTrace]:
    """Return the shaded area of a band's interval; empty if it has none."""
    known = np.isfinite(band.low) & np.isfinite(band.high)
    if not known.any():
        return []
    outline = np.concatenate([grid[known], grid[known][::-1]])
    edge = np.concatenate([band.high[known], band.low[known][::-1]])
    filled: PlotlyTrace = {
        "hoverinfo": "skip",
        "hovertemplate": None,
        "fill": "toself",
        "fillcolor": style.color,
        "opacity": 0.16,
    }
    return [line_trace(style, outline, edge, width=0, **filled)]


def vertical_line(x: float) -> PlotlyTrace:
    """Return a dotted vertical line as a plotly shape."""
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": _GRAY_DOTTED}


def near_references(references: Sequence[ReferenceLine], traces: Sequence[PlotlyTrace]) -> tuple[ReferenceLine, ...]:
    """Return the reference lines that leave about half of the height to the curves; others are too far away to draw."""
    if not references or not traces:
        return ()
    low, high, height = _extent(traces)
    return tuple(line for line in references if high - 2 * height <= line.value <= low + 2 * height)


def _extent(traces: Sequence[PlotlyTrace]) -> tuple[float, float, float]:
    """Return the lowest value, the highest one, and the height of the curves."""
    drawn: list[float] = [y for trace in traces for y in trace["y"]]
    low, high = min(drawn), max(drawn)
    # Constant curves need a height, too.
    return low, high, max(high - low, abs(high) / 10)


def with_reference_lines(
    layout: PlotlyLayout, references: Sequence[ReferenceLine], traces: Sequence[PlotlyTrace]
) -> PlotlyLayout:
    """Add the reference lines near the curves, and an arrow at the edge for each of the others."""
    if not references:
        return layout
    near = near_references(references, traces)
    low, high, height = _extent(traces)
    # Curves often start at the level of random play and would cover its label: the label goes below the line, and the
    # axis is extended to make room for it.
    lowest = min((line.value for line in near if line.value <= low + height / 10), default=None)
    shapes = [
        _horizontal_line(line, line.value > high or line.value == lowest, _clearer_end(line, traces)) for line in near
    ]
    drawn = layout | {"shapes": shapes}
    if far := [line for line in references if line not in near]:
        drawn["annotations"] = _edge_labels([line for line in far if line.value > high], "↑", 1)
        drawn["annotations"] += _edge_labels([line for line in far if line.value < low], "↓", 0)
    if lowest is None:
        return drawn
    top = max(high, *(line.value for line in near))
    room = {"autorangeoptions": {"include": lowest - _LABEL_HEIGHT * (top - lowest)}}
    return drawn | {"yaxis": layout["yaxis"] | room}


def _edge_labels(references: Sequence[ReferenceLine], arrow: str, edge: int) -> list[PlotlyTrace]:
    """Return labels of reference lines beyond the upper edge, 1, or the lower one, 0, as plotly annotations."""
    common = {"showarrow": False, "font": {"size": 11}, "xref": "paper", "yref": "paper", "x": 0, "y": edge}
    place = {"xanchor": "left", "yanchor": "top" if edge else "bottom"}
    return [
        common | place | {"text": f"{arrow} {escape(line.name)}", "yshift": (-15 if edge else 15) * index}
        for index, line in enumerate(references)
    ]


def _clearer_end(reference: ReferenceLine, traces: Sequence[PlotlyTrace]) -> str:
    """Return the end of a reference line at which curves are farther from its label, `start` or `end`."""
    # Text is legible over a shaded area.
    points = np.array([
        point for trace in traces if "fill" not in trace for point in zip(trace["x"], trace["y"], strict=True)
    ])  # fmt: skip
    if not len(points):
        return "start"
    x, distances = points[:, 0], np.abs(points[:, 1] - reference.value)
    room = np.ptp(x) * _LABEL_WIDTH
    at_start, at_end = distances[x <= x.min() + room].min(), distances[x >= x.max() - room].min()
    return "start" if at_start >= at_end else "end"


def _horizontal_line(reference: ReferenceLine, label_below: bool, end: str) -> PlotlyTrace:
    label = {
        "text": escape(reference.name),
        "textposition": end,
        "yanchor": "top" if label_below else "bottom",
        "font": {"size": 11},
    }
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": reference.value, "y1": reference.value}
    return {"type": "line", "layer": "below", "line": _GRAY_DOTTED, "label": label} | ends
