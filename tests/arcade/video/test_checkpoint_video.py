"""Evaluating a checkpoint gives the metrics of its episodes and records the selected one."""

from pathlib import Path

import pytest
from helpers.episodes import ENDING, write_random_checkpoint

from tasks.arcade.checkpoints.checkpoint import read_checkpoint
from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.episodes.trace import Trace, read_trace
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.checkpoint_video import VideoFiles, caption_of, episode_stem, evaluate_and_record
from tasks.arcade.video.embedded_trace import read_embedded_trace

PLAIN = VideoSettings(panel=False)


def test_the_median_episode_is_recorded_and_every_episode_counts(tmp_path: Path) -> None:
    digest = write_random_checkpoint("ALE/Breakout-v5", tmp_path / "checkpoint")
    settings = EvaluationSettings(episodes=5, seed=3)
    evaluation = evaluate_and_record(tmp_path / "checkpoint", digest, settings, VideoSettings(), tmp_path)
    files, returns = VideoFiles.in_folder(tmp_path), sorted(evaluation.returns)
    trace = read_trace(files.trace)
    assert trace.checkpoint == digest == evaluation.checkpoint
    assert trace.episode_return == returns[2]
    assert trace.seed == evaluation.episodes[evaluation.recorded].seed
    assert evaluation.video_frames == trace.frames + 1 + ENDING
    assert evaluation.episode_label == "median of 5 episodes (5 distinct)"
    embedded, _ = read_embedded_trace(files.mp4)
    assert (embedded.trace, embedded.kind, embedded.frames) == (trace, "panel", trace.frames + 1 + ENDING)
    metrics = evaluation.metrics()
    assert metrics["eval/mean_reward"] == sum(returns) / 5
    assert metrics["eval/iqm_reward"] == sum(returns[1:4]) / 3
    assert metrics["eval/median_reward"] == returns[2]
    assert metrics["eval/distinct_episodes"] == 5
    assert metrics["eval/mean_reward_low"] < metrics["eval/mean_reward"] < metrics["eval/mean_reward_high"]
    assert metrics["eval/iqm_reward_low"] <= metrics["eval/iqm_reward"] <= metrics["eval/iqm_reward_high"]
    assert verify(trace).ok
    assert verify_decisions(trace, read_checkpoint(tmp_path / "checkpoint", digest).agent()).ok


@pytest.mark.parametrize("choice", ["best", "worst"])
def test_the_best_or_the_worst_episode_is_recorded_on_request(choice: str, tmp_path: Path) -> None:
    digest = write_random_checkpoint("ALE/Breakout-v5", tmp_path / "checkpoint")
    video = PLAIN.model_copy(update={"episode": choice})
    evaluation = evaluate_and_record(
        tmp_path / "checkpoint", digest, EvaluationSettings(episodes=5, seed=3), video, tmp_path
    )
    returns = sorted(evaluation.returns)
    assert returns[0] < returns[2] < returns[-1]
    assert read_trace(VideoFiles.in_folder(tmp_path).trace).episode_return == returns[-1 if choice == "best" else 0]
    assert evaluation.metrics()["eval/median_reward"] == returns[2], "whichever episode is recorded"
    assert evaluation.episode_label == f"{choice} of 5 episodes (5 distinct)"


def test_every_episode_is_recorded_on_request(tmp_path: Path) -> None:
    digest = write_random_checkpoint("ALE/Breakout-v5", tmp_path / "checkpoint", 200)
    video = PLAIN.model_copy(update={"episode": "all"})
    evaluation = evaluate_and_record(tmp_path / "checkpoint", digest, EvaluationSettings(episodes=3), video, tmp_path)
    videos = [VideoFiles.in_folder(tmp_path, episode_stem(index)) for index in range(3)]
    assert [read_embedded_trace(files.mp4)[0].trace.seed for files in videos] == [
        each.seed for each in evaluation.episodes
    ]
    assert [read_trace(files.trace).episode_return for files in videos] == evaluation.returns
    assert evaluation.episode_label == "median of 3 episodes (3 distinct)", "the checkpoint's own video"


def test_identical_episodes_are_counted_as_identical(tmp_path: Path) -> None:
    """With deterministic actions in a deterministic game the seed changes nothing."""
    digest = write_random_checkpoint("BreakoutDeterministic-v4", tmp_path / "checkpoint")
    settings = EvaluationSettings(episodes=4, deterministic=True)
    evaluation = evaluate_and_record(tmp_path / "checkpoint", digest, settings, PLAIN, tmp_path)
    metrics = evaluation.metrics()
    assert metrics["eval/episodes"] == 4
    assert metrics["eval/distinct_episodes"] == 1
    assert "eval/mean_reward_low" not in metrics, "no interval is computed from identical episodes"
    assert evaluation.episode_label == "median of 4 episodes (1 distinct)"


def test_the_interval_contains_the_value_of_all_episodes() -> None:
    episodes = tuple(
        EpisodeResult(
            seed=seed,
            episode_return=0 if seed < 9 else 100,
            length=10,
            frames=40,
            ram_digest=str(min(seed, 9)),
            ended="terminated",
        )
        for seed in range(50)
    )
    metrics = Evaluation(
        checkpoint="c" * 64, step=10, settings=EvaluationSettings(), episodes=episodes, recorded=0, video_frames=1
    ).metrics()
    assert (metrics["eval/mean_reward"], metrics["eval/iqm_reward"]) == (82, 100)
    assert metrics["eval/mean_reward_low"] < metrics["eval/mean_reward_high"] == 82
    assert metrics["eval/iqm_reward_low"] < metrics["eval/iqm_reward_high"] == 100


def test_runs_of_two_seeds_play_the_same_episode_seeds_with_other_actions(tmp_path: Path) -> None:
    """Runs of an approach without learning differ in nothing else."""
    settings, played = EvaluationSettings(episodes=2), []
    for index, seed in enumerate((0, 1, 1)):
        folder = tmp_path / str(index)
        digest = write_random_checkpoint("ALE/Breakout-v5", folder / "checkpoint", 200, seed=seed)
        played.append(evaluate_and_record(folder / "checkpoint", digest, settings, PLAIN, folder).episodes)
    first, second, again = played
    assert [episode.seed for episode in first] == [episode.seed for episode in second]
    assert {episode.ram_digest for episode in first}.isdisjoint(episode.ram_digest for episode in second)
    assert second == again


def test_the_caption_says_that_an_episode_was_truncated(tmp_path: Path) -> None:
    digest = write_random_checkpoint("ALE/Seaquest-v5", tmp_path / "checkpoint", 120, name="noop")
    evaluation = evaluate_and_record(
        tmp_path / "checkpoint", digest, EvaluationSettings(episodes=1), VideoSettings(), tmp_path
    )
    assert evaluation.episodes[0].ended == "truncated"
    assert evaluation.video_frames == 121 + ENDING
    trace = read_trace(VideoFiles.in_folder(tmp_path).trace)
    assert result_of(trace, tmp_path).endswith("truncated at 120 frames")


def test_a_caption_names_the_checkpoint_and_the_episode(tmp_path: Path) -> None:
    digest = write_random_checkpoint("ALE/Pong-v5", tmp_path / "checkpoint", 120)
    evaluate_and_record(tmp_path / "checkpoint", digest, EvaluationSettings(episodes=1), PLAIN, tmp_path)
    trace = read_trace(VideoFiles.in_folder(tmp_path).trace)
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    caption = caption_of(checkpoint, trace.model_copy(update={"episode_return": -21, "ended": "terminated"}), "best")
    assert caption.title == "ALE/Pong-v5  ·  random  ·  step 10"
    assert caption.details == f"best  ·  seed {trace.seed}", "the result is not known from the first second"
    assert caption.result == "return \N{MINUS SIGN}21  ·  game over"
    assert result_of(trace.model_copy(update={"ended": "limit"}), tmp_path).endswith(
        f"stopped after {trace.length} steps"
    )


def result_of(trace: Trace, folder: Path) -> str:
    return caption_of(read_checkpoint(folder / "checkpoint"), trace, "median").result


def test_an_evaluation_without_video_settings_reads_as_a_plain_median_video(tmp_path: Path) -> None:
    digest = write_random_checkpoint("ALE/Breakout-v5", tmp_path / "checkpoint", 100)
    evaluation = evaluate_and_record(tmp_path / "checkpoint", digest, EvaluationSettings(episodes=1), PLAIN, tmp_path)
    former = Evaluation.model_validate(evaluation.model_dump(exclude={"video"}))
    assert former.video == VideoSettings(episode="median", panel=False)
