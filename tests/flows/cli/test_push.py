"""`ramreel export --push`: what is missing is named before anything is exported."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.processes import error_lines, started

PUSH = ["export", "latest", "--push", "me/agent", "--hub"]


@pytest.fixture
def hub(tmp_path: Path) -> dict[str, str]:
    """An environment of huggingface_hub without a token."""
    return {"HF_HOME": str(tmp_path / "huggingface"), "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": ""}


def test_push_without_a_token_is_refused_before_anything_is_exported(tmp_path: Path, hub: dict[str, str]) -> None:
    with started([*PUSH, str(tmp_path / "folder")], tmp_path / "home", hub) as command:
        code, out, errors = command.wait()
    refusal = "ramreel: --push needs a token of the Hugging Face Hub: set HF_TOKEN, or log in with `hf auth login`"
    assert (code, out, error_lines(errors)) == (2, "", [refusal])
    assert not (tmp_path / "folder").exists()
    assert not (tmp_path / "home").exists()
