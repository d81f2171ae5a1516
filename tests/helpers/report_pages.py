"""Parsing the HTML pages of reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from tasks.arcade.report import CheckpointRow, Findings, RunView

Run = Callable[..., RunView]
Row = Callable[..., CheckpointRow]
Compared = Callable[..., Findings]
WithVideos = Callable[[Findings], Findings]


class Page(HTMLParser):
    """A parsed page: elements, loaded resources, and the text outside scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self.text = ""
        self.csp = ""
        self._element = ""
        self.feed(source)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._element = tag
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        if tag == "script":
            self.scripts.append("")
        if ("http-equiv", "Content-Security-Policy") in attrs:
            self.csp = dict(attrs)["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._element = ""

    def handle_data(self, data: str) -> None:
        if self._element == "script":
            self.scripts[-1] += data
        elif self._element != "style":
            self.text += data + " "


def traces(page: str, name: str) -> list[dict[str, Any]]:
    """Return the plotly traces of the figure `plot-<name>`."""
    start = re.search(rf'Plotly\.newPlot\(\s*"plot-{name}",\s*', page)
    assert start is not None
    traces: list[dict[str, Any]] = json.JSONDecoder().raw_decode(page, start.end())[0]
    return traces
