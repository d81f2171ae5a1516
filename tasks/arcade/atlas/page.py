"""An atlas as Markdown, and as one HTML file with its picture inside."""

from __future__ import annotations

import base64

from tasks.arcade.atlas.model import KINDS, Atlas, Region
from tasks.arcade.report.html import render


def render_markdown(atlas: Atlas) -> str:
    """The table of an atlas: a row for each byte that does something, the others in one line."""
    return _render("atlas.md.j2", atlas)


def render_html(atlas: Atlas, sheet: bytes) -> str:
    """The same with all bytes and the picture, in one file that needs nothing beside it.

    Args:
        atlas: what is shown.
        sheet: its picture, a PNG.
    """
    return _render("atlas.html.j2", atlas, sheet=base64.b64encode(sheet).decode())


def _render(template: str, atlas: Atlas, **values: str) -> str:
    silent = [entry.byte for entry in atlas.entries if entry.kind == "none"]
    return render(template, {"atlas": atlas, "kinds": KINDS, "silent": silent, **values}, {"place": _place})


def _place(region: Region | None) -> str:
    """Columns and rows of a region, in words."""
    if region is None:
        return ""
    return f"columns {region.x} to {region.x + region.width - 1}, rows {region.y} to {region.y + region.height - 1}"
