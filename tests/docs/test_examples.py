"""The code blocks of the page "Use from Python" run in order, unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs/python.md"


def test_code_blocks_run_in_order(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(at_home)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    namespace: dict[str, Any] = {"__name__": "docs.python"}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"docs/python.md, code block {number}", "exec"), namespace)  # noqa: S102 - our own page
    assert [saved.step for saved in namespace["trained"].checkpoints] == [512, 1024]
    assert namespace["plain"].frames == namespace["trace"].frames + 1
    assert len(namespace["positions"]) == 201
    assert namespace["compared"].report == "reports/report.html"
