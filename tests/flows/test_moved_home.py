"""Runs of a home that was moved are verified, compared, exported, resumed and recorded in its new place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flows.cli.app import run as cli
from flows.compare import compare
from flows.record import record
from flows.train import resume, train
from tasks.arcade.inputs.forms import CompareSettings, RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.runs.verify import verify_run
from tasks.store import open_store


def test_moved_home_with_videos(
    small: TrainSettings, at_home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = train(small).run_id
    quick = RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), video=VideoSettings(panel=False))
    assert record(quick).made == (512, 1024)
    moved = tmp_path_factory.mktemp("moved") / "home"
    shutil.move(at_home / "mlruns", moved / "mlruns")
    monkeypatch.setenv("RAMREEL_HOME", str(moved))
    store = open_store()
    assert [proof.ok for proof in verify_run(store, run_id)] == [True, True]
    assert cli(["export", run_id, "--to", str(moved / "exported.zip")]) == 0
    assert resume(ResumeSettings(run=run_id, steps=1536, workers=2)).steps == 1536
    assert record(quick).made == (1536,)
    compared = compare(CompareSettings(runs=(run_id,)))
    assert "step-000001536.mp4" in store.fetch_artifact(compared.run_id, compared.report, moved / "report").read_text()
    assert not (at_home / "mlruns").exists()
