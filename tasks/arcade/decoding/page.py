"""Figures of a decoder as Markdown, and as a self-contained HTML page with its picture."""

from __future__ import annotations

import base64

from tasks.arcade.decoding.report import KINDS, DecodingReport, summarize
from tasks.arcade.report.html import render_template


def render_markdown(report: DecodingReport) -> str:
    """Return the figures as Markdown: a table of the bytes that vary, the others on one line."""
    return _render("decoder.md.j2", report)


def render_html(report: DecodingReport, poster: bytes) -> str:
    """Return the figures as a self-contained HTML page with all bytes and the picture.

    Args:
        report: The figures.
        poster: The picture, a PNG.
    """
    return _render("decoder.html.j2", report, poster=base64.b64encode(poster).decode())


def _render(template: str, report: DecodingReport, **values: str) -> str:
    constant = [one.byte for one in report.bytes if one.kind == "constant"]
    context = {"report": report, "kinds": KINDS, "constant": constant, "summary": summarize(report), **values}
    return render_template(template, context, {"share": _format_share})


def _format_share(value: float | None) -> str:
    """Return a share with four digits; empty if there is none."""
    return "" if value is None else f"{value:.4f}"
