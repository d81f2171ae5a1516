"""`ramreel export --push`: everything that is exported arrives at a Hub; what is missing is named before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.hub import serving_hub
from helpers.processes import error_lines, started

from flows.record import record
from flows.train import train
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings

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


def test_pushed_files_are_those_of_the_folder(
    at_home: Path, small: TrainSettings, tmp_path: Path, hub: dict[str, str]
) -> None:
    train(small.model_copy(update={"steps": 512}))
    record(RecordSettings(run="latest", evaluation=EvaluationSettings(episodes=1)))
    folder = tmp_path / "folder"
    with serving_hub() as server:
        with started([*PUSH, str(folder)], at_home, {**hub, **server.environment("hf_revoked")}) as command:
            code, _, errors = command.wait()
        assert (code, "could not push to me/agent: Client error '401 Unauthorized'" in errors) == (1, True)
        assert server.repositories == {}
        # Again: the repository exists then.
        for _ in range(2):
            with started([*PUSH, str(folder), "--json"], at_home, {**hub, **server.environment()}) as command:
                code, out, errors = command.wait()
            assert (code, json.loads(out)["url"]) == (0, f"{server.address}/me/agent"), errors
    assert server.commits == ["Export with ramreel"] * 2
    assert server.repositories == {"me/agent": {path.name: path.read_bytes() for path in folder.iterdir()}}
    assert "replay.mp4" in server.repositories["me/agent"]
