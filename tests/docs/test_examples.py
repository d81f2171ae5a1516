"""The code blocks of the manual run in order, unchanged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helpers.decoders import small_decoder

from tasks.arcade.decoding.decoder import write_decoder

DOCS = Path(__file__).parents[2] / "docs"


def run_code_blocks(page: str) -> dict[str, Any]:
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert blocks
    namespace: dict[str, Any] = {"__name__": page}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"docs/{page}, code block {number}", "exec"), namespace)  # noqa: S102 - our own page
    return namespace


def test_use_from_python(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(at_home)
    namespace = run_code_blocks("python.md")
    assert [saved.step for saved in namespace["trained"].checkpoints] == [512, 1024]
    assert namespace["plain"].frames == namespace["trace"].frames + 1
    assert len(namespace["positions"]) == 201
    assert namespace["compared"].report == "reports/report.html"


def test_pictures_to_ram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write_decoder(small_decoder()[0], tmp_path / "decoder")
    monkeypatch.chdir(tmp_path)
    run_code_blocks("pixels.md")
    followed, decoded = capsys.readouterr().out.splitlines()
    assert followed == "(128,) uint8 Box(0, 255, (128,), uint8) 1.0 False"
    assert decoded.startswith("(128,) ")
