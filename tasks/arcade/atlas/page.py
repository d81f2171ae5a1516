"""An atlas as Markdown, and as a self-contained HTML page with its poster."""

from __future__ import annotations

import base64

from tasks.arcade.atlas.atlas import ENCODINGS, KINDS, Atlas, Region
from tasks.arcade.report.html import render_template


def render_markdown(atlas: Atlas) -> str:
    """Return the atlas as Markdown: a table of the bytes with an effect, the others on one line."""
    return _render("atlas.md.j2", atlas)


def render_html(atlas: Atlas, poster: bytes) -> str:
    """Return the atlas as a self-contained HTML page with all bytes and the poster.

    Args:
        atlas: The atlas.
        poster: Its poster, a PNG.
    """
    return _render("atlas.html.j2", atlas, poster=base64.b64encode(poster).decode())


def _render(template: str, atlas: Atlas, **values: str) -> str:
    without_effect = [entry.byte for entry in atlas.entries if entry.kind == "none"]
    context = {"atlas": atlas, "kinds": KINDS, "encodings": ENCODINGS, "without_effect": without_effect, **values}
    return render_template(template, context, {"region": _format_region})


def _format_region(region: Region | None) -> str:
    """Return the columns and rows of a region as text."""
    if region is None:
        return ""
    return f"columns {region.x} to {region.x + region.width - 1}, rows {region.y} to {region.y + region.height - 1}"
