"""What a run has stored twice must agree: returns of a trace, of the evaluation and in the metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.episodes import write_random_checkpoint

from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.checkpoint_video import VideoFiles, evaluate_and_record
from tasks.runs.verify import verify_run
from tasks.store import Store

STEP = 10


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Evaluation]:
    """Folder with a checkpoint and the video of an evaluation episode, digest of the checkpoint, evaluation."""
    folder = tmp_path_factory.mktemp("played")
    digest = write_random_checkpoint("ALE/Pong-v5", folder / "checkpoint", 240)
    evaluation = evaluate_and_record(
        *(folder / "checkpoint", digest, EvaluationSettings(episodes=2), VideoSettings(panel=False), folder)
    )
    return folder, digest, evaluation


@pytest.fixture
def recorded(store: Store, run_id: str, played: tuple[Path, str, Evaluation]) -> Evaluation:
    folder, digest, evaluation = played
    model_id = store.save_checkpoint(run_id, STEP, folder / "checkpoint", digest)
    files = VideoFiles.in_folder(folder)
    store.save_video(run_id, STEP, files.mp4, files.trace)
    store.log_metrics(run_id, evaluation.metrics(), STEP, model_id)
    store.save_evaluation(run_id, evaluation)
    return evaluation


def reasons(store: Store, run_id: str) -> list[str]:
    return [f"{proof.name}: {proof.reason}" for proof in verify_run(store, run_id) if not proof.ok]


def test_recorded_run_agrees_with_itself(store: Store, run_id: str, recorded: Evaluation) -> None:
    assert recorded.step == STEP
    (proof,) = verify_run(store, run_id)
    assert (proof.ok, proof.by_checkpoint) == (True, True)


def test_metric_that_contradicts_the_evaluation_fails_verification(
    store: Store, run_id: str, recorded: Evaluation
) -> None:
    store.log_metrics(run_id, {"eval/mean_reward": recorded.mean_return + 1}, STEP)
    assert reasons(store, run_id) == [
        f"the evaluation at step {STEP}: eval/mean_reward is {recorded.mean_return + 1:g}, the returns of its "
        f"evaluation have a mean of {recorded.mean_return:g}"
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda one: {"episode_return": one.episode_return + 5}, "the return of the episode of seed"),
        (lambda one: {"length": one.length + 1}, "the length of the episode of seed"),
        (lambda one: {"ram_digest": "0" * 64}, "the RAM digest of the episode of seed"),
        (lambda one: {"seed": one.seed + 1}, "the run's evaluation has no episode of seed"),
    ],
    ids=["return", "length", "digest", "seed"],
)
def test_trace_that_contradicts_the_evaluation_fails_verification(
    change: Callable[[EpisodeResult], dict[str, object]], reason: str, store: Store, run_id: str, recorded: Evaluation
) -> None:
    episodes = tuple(one.model_copy(update=change(one)) for one in recorded.episodes)
    changed = recorded.model_copy(update={"episodes": episodes})
    store.log_metrics(run_id, {"eval/mean_reward": changed.mean_return}, STEP)
    store.save_evaluation(run_id, changed)
    (found,) = reasons(store, run_id)
    assert reason in found


def test_unreadable_evaluation_does_not_hide_the_video(store: Store, run_id: str, recorded: Evaluation) -> None:
    assert recorded.step == STEP
    store.log_text(run_id, "{}", f"evaluations/step-{STEP:09}.json")
    bad, video = verify_run(store, run_id)
    assert "is not an evaluation" in bad.reason
    assert (bad.ok, video.ok) == (False, True)
