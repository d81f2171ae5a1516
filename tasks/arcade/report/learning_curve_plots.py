"""Figures over steps: sample efficiency, evaluation by checkpoint, and the curve of every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.arcade import scores
from tasks.arcade.report.plot_elements import (
    REFERENCE_COLOR,
    LineStyle,
    ReferenceLine,
    escape,
    line_trace,
    near_references,
    shade_traces,
    with_reference_lines,
)
from tasks.arcade.report.plotly_html import PlotlyLayout, PlotlyTrace, figure_html
from tasks.arcade.scores import Band, Estimate, FloatArray


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """A value at a step.

    Attributes:
        low: lower end of its interval, or None.
        high: upper end of its interval, or None.
        hover: text shown when the pointer is on its marker.
    """

    step: int
    value: float
    low: float | None = None
    high: float | None = None
    hover: str = ""


@dataclass(frozen=True, slots=True)
class RunCurve:
    """The points of one run, in ascending order of steps."""

    name: str
    points: tuple[CurvePoint, ...]

    @property
    def steps(self) -> FloatArray:
        return np.array([point.step for point in self.points], np.float64)

    @property
    def values(self) -> FloatArray:
        return np.array([point.value for point in self.points], np.float64)


@dataclass(frozen=True, slots=True)
class ApproachCurves:
    """The curves of one approach.

    Attributes:
        constant: value of an approach that does not learn; it is drawn as a horizontal line.
    """

    style: LineStyle
    curves: tuple[RunCurve, ...]
    constant: Estimate | None = None

    @property
    def known(self) -> tuple[RunCurve, ...]:
        """The curves that have points."""
        return tuple(curve for curve in self.curves if curve.points)


@dataclass(frozen=True, slots=True)
class PublishedCurve:
    """A published learning curve, drawn as a gray line with markers.

    Attributes:
        dash: plotly's.
        steps: shape (points,).
        values: shape (points,).
        hovers: text for each point.
    """

    name: str
    dash: str
    steps: FloatArray
    values: FloatArray
    hovers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepsPlot:
    """A figure over steps, and what of it a caption may describe.

    Attributes:
        html: HTML without `plotly_js`; empty if there is nothing to draw.
        shaded: whether some line has a shaded interval.
        bars: whether some marker has error bars.
        references: the reference lines that are drawn.
    """

    html: str = ""
    shaded: bool = False
    bars: bool = False
    references: tuple[ReferenceLine, ...] = ()


def sample_efficiency(
    name: str,
    approaches: Sequence[ApproachCurves],
    measure: str,
    references: Sequence[ReferenceLine] = (),
    published: Sequence[PublishedCurve] = (),
) -> StepsPlot:
    """Plot each approach's interquartile mean over runs with its interval, by training steps.

    Args:
        name: the figure's element is `plot-<name>`.
        approaches: in the order of the legend.
        measure: title of the y-axis.
        references: values to draw as lines if they are close to the curves, and as labels at the edge otherwise.
        published: learning curves to draw below the approaches'.

    Returns:
        The figure; empty if no run has logged a curve.
    """
    if not any(one.known for one in approaches if one.constant is None):
        return StepsPlot()
    grid = _grid(approaches)
    traces = [_published_trace(curve) for curve in published]
    traces += [trace for one in approaches for trace in _iqm_traces(one, grid)]
    return _steps_plot(name, traces, measure, "x unified", references)


def without_line(approaches: Sequence[ApproachCurves]) -> tuple[str, ...]:
    """Return the names of the approaches whose runs share no step, so that they have no line."""
    grid = _grid(approaches)
    return tuple(
        one.style.name
        for one in approaches
        if one.constant is None and one.known and not np.isfinite(scores.iqm_over_seeds(_on_grid(one, grid))).any()
    )


def every_run(name: str, approaches: Sequence[ApproachCurves], measure: str) -> StepsPlot:
    """Plot the curve of each run as a thin line in its approach's color; arguments as in `sample_efficiency`."""
    grid = _grid(approaches)
    traces = []
    for one in approaches:
        for index, (curve, values) in enumerate(zip(one.known, _on_grid(one, grid), strict=True)):
            hover = f"{escape(curve.name)}: %{{y:.5~g}} at %{{x:,.0f}}<extra></extra>"
            options: dict[str, Any] = {"hovertemplate": hover, "showlegend": index == 0, "opacity": 0.8}
            traces.append(line_trace(one.style, grid, values, width=1.4, **options))
    return _steps_plot(name, traces, measure, "closest")


def evaluation(
    name: str, approaches: Sequence[ApproachCurves], measure: str, references: Sequence[ReferenceLine] = ()
) -> StepsPlot:
    """Plot each run's checkpoints as markers below the lines of `sample_efficiency`."""
    grid = _grid(approaches)
    traces = []
    for one in approaches:
        lines = _iqm_traces(one, grid)
        if one.constant is None:
            for index, curve in enumerate(one.known):
                in_legend = index == 0 and not lines
                traces.append(_markers(one.style, curve, with_interval=len(one.known) == 1, showlegend=in_legend))
        traces += lines
    return _steps_plot(name, traces, measure, "closest", references)


def _grid(approaches: Sequence[ApproachCurves]) -> FloatArray:
    """Return the steps of all approaches that learn; constant ones extend over the same range."""
    grid = scores.common_grid([curve.steps for one in approaches if one.constant is None for curve in one.known])
    if len(grid):
        return grid
    return np.array([0, max((curve.steps[-1] for one in approaches for curve in one.known), default=0)], np.float64)


def _on_grid(one: ApproachCurves, grid: FloatArray) -> list[FloatArray]:
    if one.constant is not None:
        return [np.full(grid.shape, curve.values[-1]) for curve in one.known]
    return [scores.interpolate_curve(curve.steps, curve.values, grid) for curve in one.known]


def _iqm_traces(one: ApproachCurves, grid: FloatArray) -> list[PlotlyTrace]:
    """Return the approach's line and the shade of its interval; empty if its runs share no step."""
    if one.constant is not None:
        band = _constant_band(one.constant, grid)
    elif one.known:
        band = scores.band_over_seeds(_on_grid(one, grid))
    else:
        return []
    if not np.isfinite(band.value).any():
        return []
    return [*shade_traces(one.style, grid, band), line_trace(one.style, grid, band.value, width=3, showlegend=True)]


def _published_trace(curve: PublishedCurve) -> PlotlyTrace:
    style = LineStyle(curve.name, "", REFERENCE_COLOR, curve.dash, "circle-open")
    return line_trace(
        style,
        curve.steps,
        curve.values,
        width=1.4,
        showlegend=True,
        mode="lines+markers",
        marker={"size": 6, "color": REFERENCE_COLOR, "symbol": "circle-open"},
        text=[escape(hover) for hover in curve.hovers],
        hovertemplate="%{text}<extra></extra>",
    )


def _constant_band(constant: Estimate, grid: FloatArray) -> Band:
    ends = (np.nan if end is None else end for end in (constant.value, constant.low, constant.high))
    return Band(*(np.full(grid.shape, end) for end in ends))


def _markers(style: LineStyle, curve: RunCurve, *, with_interval: bool, showlegend: bool) -> PlotlyTrace:
    trace = line_trace(
        style,
        curve.steps,
        curve.values,
        width=1,
        showlegend=showlegend,
        opacity=1 if with_interval else 0.75,
        mode="lines+markers",
        marker={"size": 6, "color": style.color, "symbol": style.symbol},
        text=[escape(point.hover) for point in curve.points],
        hovertemplate=escape(curve.name) + "<br>%{text}<extra></extra>",
    )
    if not with_interval:
        return trace
    bars = {
        "array": [None if point.high is None else point.high - point.value for point in curve.points],
        "arrayminus": [None if point.low is None else point.value - point.low for point in curve.points],
    }
    return trace | {"error_y": bars | {"thickness": 1.2, "width": 4}}


def _steps_plot(
    name: str, traces: Sequence[PlotlyTrace], measure: str, hovermode: str, references: Sequence[ReferenceLine] = ()
) -> StepsPlot:
    if not traces:
        return StepsPlot()
    steps = {"title_text": "environment steps", "tickformat": "~s", "hoverformat": ",.0f", "showgrid": False}
    axes: PlotlyLayout = {"xaxis": steps, "yaxis": {"title_text": measure}}
    return StepsPlot(
        html=figure_html(name, traces, with_reference_lines(axes, references, traces), hovermode),
        shaded=any("fill" in trace for trace in traces),
        bars=any(end is not None for trace in traces for end in trace.get("error_y", {}).get("array", ())),
        references=near_references(references, traces),
    )
