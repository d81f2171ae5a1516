"""Runs of version 0.1 are resumed, recorded, verified and compared like current ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from helpers import former_store

from flows.compare import compare
from flows.record import record
from flows.train import resume
from tasks.arcade.inputs.forms import CompareSettings, RecordSettings, ResumeSettings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.runs.verify import verify_run
from tasks.store import Store


def policy_sha256(store: Store, run_id: str, folder: Path) -> str:
    stored = store.list_checkpoints(run_id)[-1]
    return hashlib.sha256((store.fetch_checkpoint(stored, folder) / "policy.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["tuned", "dqn"])
def test_former_run_resumes_bit_for_bit(name: str, at_home: Path, store: Store, tmp_path: Path) -> None:
    former = former_store.unpack(at_home)
    resumed = resume(ResumeSettings(run=name, steps=former.steps, workers=1))
    assert (resumed.steps, [saved.step for saved in resumed.checkpoints]) == (former.steps, [1024, 1536, 2048])
    if former_store.installed() != former.computed_with:
        pytest.skip("floating-point results have other last bits with these versions or on this CPU")
    assert policy_sha256(store, resumed.run_id, tmp_path / "policy") == former.policy_sha256[name]


def test_former_videos_verify(at_home: Path, store: Store) -> None:
    former_store.unpack(at_home)
    proofs = verify_run(store, store.resolve_run("plain"))
    assert len(proofs) == 4
    for proof in proofs:
        assert proof.ok, proof.line
        assert proof.steps_checked
        assert proof.frames_checked
        assert proof.by_checkpoint


def test_missing_videos_do_not_verify(at_home: Path, store: Store) -> None:
    former_store.unpack(at_home)
    run_id = store.resolve_run("plain")
    for step in (256, 512):
        next(at_home.rglob(f"{run_id}/artifacts/films/step-{step:09d}.mp4")).unlink()
    lost, _ = verify_run(store, run_id)
    assert lost.line == (
        "the video at step 256: NOT verified: its evaluation is in the store, the video or its trace is missing"
    )


def test_former_run_is_recorded_again_and_compared(at_home: Path, store: Store) -> None:
    former_store.unpack(at_home)
    run_id = store.resolve_run("plain")
    settings = RecordSettings(run="plain", evaluation=EvaluationSettings(episodes=1), video=VideoSettings(panel=False))
    assert record(settings).made == ()
    again = settings.model_copy(update={"steps": (512,), "again": True})
    assert record(again).made == (512,)
    videos = store.complete_videos(run_id)
    assert [video.mp4 for video in videos.values()] == ["films/step-000000256.mp4", "videos/step-000000512.mp4"]
    assert all(proof.ok for proof in verify_run(store, run_id))
    compared = compare(CompareSettings(runs=("plain",)))
    page = store.fetch_artifact(compared.run_id, compared.report, at_home / "report").read_text("utf-8")
    assert "films/step-000000256.mp4" in page
    assert "videos/step-000000512.mp4" in page
