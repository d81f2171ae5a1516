"""Old videos and runs are deleted by flow and command, and a backup holds a store that verifies."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from flows.cli.app import run
from flows.prune import prune
from flows.record import record
from flows.train import train
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.inputs.unattended import PruneSettings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.runs.verify import verify_run
from tasks.store import AUTOMATIC_TAG, PRUNED_VIDEOS, Store
from tasks.store.connection import connect
from tests.conftest import forget_settings

PLAIN = VideoSettings(panel=False)
MONTH_MS = 31 * 24 * 3600 * 1000


def grown_old(store: Store, run_id: str) -> None:
    connect(store.address).set_terminated(run_id, "FINISHED", end_time=int(time.time() * 1000) - MONTH_MS)


def test_old_run_keeps_what_verifies_and_can_be_recorded_again(store: Store, small: TrainSettings) -> None:
    settings = small.model_copy(update={"checkpoint_every": 256})
    run_id = train(settings).run_id
    assert AUTOMATIC_TAG not in store.run(run_id).tags, "started by hand"
    record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), video=PLAIN))
    before = store.complete_videos(run_id)
    grown_old(store, run_id)
    by_hand = prune(PruneSettings(delete=True))
    assert (by_hand.videos, by_hand.manual) == (0, 1)

    store.set_tag(run_id, AUTOMATIC_TAG, "schedule")
    listed = prune(PruneSettings())
    assert listed.videos
    assert store.complete_videos(run_id) == before
    deleted = prune(PruneSettings(delete=True))
    assert deleted.model_copy(update={"deleted": False}) == listed
    left = store.complete_videos(run_id)
    assert max(before) in left
    assert len(left) == len(before) - deleted.videos
    assert all(proof.ok for proof in verify_run(store, run_id)), "a video that was deleted is not a lost one"

    gone = min(before.keys() - left.keys())
    again = RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), video=PLAIN, steps=(gone,))
    assert record(again).made == (gone,)
    assert gone in store.complete_videos(run_id)
    assert all(proof.ok for proof in verify_run(store, run_id))
    assert PRUNED_VIDEOS in store.run(run_id).tags


def test_backup_of_recorded_run_verifies_where_it_is_restored(
    at_home: Path, store: Store, small: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run_id = train(small).run_id
    record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), video=PLAIN, last=True))
    file = tmp_path / "backup.tar.gz"
    assert run(["backup", str(file), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["databases"] == ["mlflow.db"]
    forget_settings(monkeypatch)
    monkeypatch.setenv("RAMREEL_HOME", str(tmp_path / "restored"))
    assert run(["restore", str(file)]) == 0
    assert run(["verify", run_id]) == 0
    assert "every action chosen by the checkpoint" in capfd.readouterr().out
    assert run(["restore", str(file)]) == 2
    assert "move the store there away" in capfd.readouterr().err
    assert run(["restore", str(tmp_path / "none.tar")]) == 2
    assert "is not a file" in capfd.readouterr().err


def test_command_lists_without_deleting(store: Store, small: TrainSettings, capfd: pytest.CaptureFixture[str]) -> None:
    run_id = train(small).run_id
    grown_old(store, run_id)
    arguments = ["prune", "--manual", "--runs-days", "30", "--json"]
    assert run(arguments) == 0
    listed = json.loads(capfd.readouterr().out)
    assert (listed["runs"], listed["deleted"]) == (1, False)
    assert listed["size"] > 0
    assert store.exists(run_id)
    assert run([*arguments, "--yes"]) == 0
    assert not store.exists(run_id)
    assert list(Path(str(store.address.artifacts)).rglob("*.safetensors")) == []
