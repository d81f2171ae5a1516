"""What MLflow's UI says of a run: result, links, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.arcade.settings.run import RunSettings
from tasks.runs.run_description import describe_comparison, describe_training
from tasks.store import Store

Start = Callable[..., str]
EvaluatedRun = Callable[..., str]


def description(store: Store, run_id: str) -> str | None:
    return store.run(run_id).tags.get("mlflow.note.content")


def test_evaluated_run_has_its_result_and_links(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun, tmp_path: Path
) -> None:
    run_id = evaluated_run(store, settings, {500: [1.0, 2.0], 1000: [4.0, 5.0]})
    describe_training(store, run_id)
    text = description(store, run_id)
    assert text is not None
    assert text.startswith("Mean return 4.0 of the last episodes of training\n\n[All runs](#/experiments/")
    assert text.endswith(f"\n\nResume: `ramreel train --resume {run_id[:8]}` with more `--steps`")

    store.log_metrics(run_id, {"eval/mean_reward": 4.5, "eval/episodes": 2}, 1000)
    for name in ("video.mp4", "video.json"):
        (tmp_path / name).write_bytes(b"of a video")
    for step in (500, 1000):
        store.save_video(run_id, step, tmp_path / "video.mp4", tmp_path / "video.json")
    comparison = store.start_comparison(
        "ALE/Pong-v5", "one of them", [run_id], command="ramreel compare", versions={}, commit=None
    )
    describe_comparison(store, comparison, (run_id,), "Nothing to compare")
    text = description(store, run_id)
    assert text is not None
    page = store.ui_path(run_id, "videos/step-000001000.mp4").removeprefix("/")
    report = store.ui_path(comparison, "reports/report.html").removeprefix("/")
    assert text.startswith("Mean return 4.5 of 2 episodes\n\n[Video of step 1,000](")
    assert f"[Video of step 1,000]({page}) \N{MIDDLE DOT} [Report]({report}) \N{MIDDLE DOT} [All runs](" in text
    described = description(store, comparison)
    assert described is not None
    assert described.startswith(f"Nothing to compare\n\n[Report]({report})")


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_reason_of_a_run_that_did_not_finish_is_kept(
    store: Store, settings: RunSettings, start: Start, status: str
) -> None:
    run_id = start(store, settings)
    store.finish_run(run_id, status, "stopped by the user")  # type: ignore[arg-type]
    describe_training(store, run_id)
    assert description(store, run_id) == f"stopped by the user\n\nResume: `ramreel train --resume {run_id[:8]}`"


def test_failed_video_stays_described(store: Store, settings: RunSettings, evaluated_run: EvaluatedRun) -> None:
    run_id = evaluated_run(store, settings, {500: [1.0]})
    store.set_failure_reason(run_id, "1 of 2 videos failed")
    describe_training(store, run_id)
    text = description(store, run_id)
    assert text is not None
    assert text.startswith("1 of 2 videos failed\n\nMean return")


def test_comparison_is_not_described_as_a_training_run(store: Store, run_id: str) -> None:
    comparison = store.start_comparison(
        "ALE/Pong-v5", "compared", [run_id], command="ramreel compare", versions={}, commit=None
    )
    store.finish_run(comparison, "FINISHED")
    describe_training(store, comparison)
    assert description(store, comparison) is None


def test_comparison_survives_a_run_that_was_deleted(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    deleted, kept = (evaluated_run(store, settings, {500: [1.0]}, name) for name in ("deleted", "kept"))
    comparison = store.start_comparison(
        "ALE/Pong-v5", "compared", [deleted, kept], command="ramreel compare", versions={}, commit=None
    )
    store._client.delete_run(deleted)
    describe_comparison(store, comparison, (deleted, kept), "Nothing to compare")
    assert "[Report](" in str(description(store, kept))
