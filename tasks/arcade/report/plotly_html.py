"""Plotly figures as HTML in the page's style; the only module that imports plotly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PlotlyTrace = dict[str, Any]
PlotlyLayout = dict[str, Any]

# On touch screens a drag should scroll the page instead of zooming the plot.
_NO_DRAG_ON_TOUCH = "if (matchMedia('(pointer: coarse)').matches) Plotly.relayout('{plot_id}', {dragmode: false});"
_REMOVED_BUTTONS = ("select2d", "lasso2d", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d")
_FONT = {"family": "system-ui, sans-serif", "size": 12}


def plotly_js() -> str:
    """Return the script that a page with figures includes once."""
    import plotly.offline

    return str(plotly.offline.get_plotlyjs())


def figure_html(
    name: str, traces: Sequence[PlotlyTrace], layout: PlotlyLayout, hovermode: str, left_margin: int = 8
) -> str:
    """Return a figure as the element `plot-<name>`; text and grid get their colors from the page's style sheet."""
    import plotly.io

    axis = {"zeroline": False, "automargin": True, "ticks": "", "title": {"font": {"size": 12}}}
    height = layout.get("height", 360)
    complete = layout | {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": _FONT,
        "hoverlabel": {"font": _FONT},
        "margin": {"l": left_margin, "r": 32, "t": 8, "b": 8},
        "hovermode": hovermode,
        # -1 shows the nearest step's values wherever between two steps the pointer is.
        "hoverdistance": -1 if hovermode == "x unified" else 20,
        # Touch screens show the buttons permanently; in the right margin they cover neither legend nor curves.
        "modebar": {"orientation": "v"},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "xaxis": axis | layout.get("xaxis", {}),
        "yaxis": axis | {"fixedrange": True} | layout.get("yaxis", {}),
    }
    config = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": list(_REMOVED_BUTTONS)}
    return str(
        plotly.io.to_html(
            {"data": list(traces), "layout": complete},
            config=config,
            include_plotlyjs=False,
            include_mathjax=False,
            full_html=False,
            div_id=f"plot-{name}",
            default_height=f"{height}px",
            post_script=_NO_DRAG_ON_TOUCH,
        )
    )


def restyle_figure(name: str, figure: dict[str, Any]) -> str:
    """Return another library's plotly figure in the page's style."""
    layout = {key: _compact_axis(value) for key, value in figure["layout"].items() if key not in ("template", "title")}
    # Plotly reserves no room for annotations, with which Optuna labels the axes of parallel coordinates.
    left_margin = 48 if layout.get("annotations") else 8
    return figure_html(name, figure["data"], layout, str(layout.pop("hovermode", "closest")), left_margin)


def _compact_axis(value: Any) -> Any:
    """Label only the powers of ten of a logarithmic axis, as other labels overlap on narrow screens."""
    is_log_axis = isinstance(value, dict) and value.get("type") == "log"
    return value | {"dtick": 1, "exponentformat": "power"} if is_log_axis else value
