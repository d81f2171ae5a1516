"""A reel shows every checkpoint of a run, one after the other and side by side, in videos that decode."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from flows.cli.app import run
from flows.train import train
from tasks.arcade.episodes.trace import read_trace
from tasks.arcade.episodes.verify import verify
from tasks.arcade.inputs.forms import TrainSettings
from tasks.store import Store


def test_reel_shows_every_checkpoint_and_its_traces_verify(
    small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_id = train(small).run_id
    capfd.readouterr()
    assert run(["reel", run_id[:8], "--seconds", "2", "--json", "--quiet"]) == 0
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert [one["step"] for one in result["checkpoints"]] == [512, 1024]
    for kind in ("reel", "grid"):
        path = store.fetch_artifact(result["run_id"], result[kind], tmp_path)
        decoded = subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "null", "-"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert decoded.stderr == ""
    animation = store.fetch_artifact(result["run_id"], result["animation"], tmp_path)
    assert animation.read_bytes()[8:12] == b"WEBP"
    assert animation.stat().st_size < 3 * 1024**2
    for one in result["checkpoints"]:
        trace = read_trace(store.fetch_artifact(result["run_id"], one["trace"], tmp_path))
        assert verify(trace).ok


def test_runs_of_different_games_are_refused(small: TrainSettings, capfd: pytest.CaptureFixture[str]) -> None:
    one = train(small).run_id
    other = train(small.model_copy(update={"env_id": "ALE/Pong-v5"})).run_id
    capfd.readouterr()
    assert run(["reel", one, other]) == 2
    assert "Pong" in capfd.readouterr().err
