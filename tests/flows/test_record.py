"""Every checkpoint has a video that is proved to be what it does, and is recorded once."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from prefect import flow, task
from prefect.futures import PrefectFuture

from flows.atlas import atlas
from flows.cli.app import run
from flows.record import RecordedCheckpoint, RecordedRun, RecordError, record, why_it_failed
from flows.train import train
from tasks.arcade.inputs.forms import AtlasSettings, RecordSettings, TrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.video.embedded_trace import EmbeddedTrace, read_embedded_trace
from tasks.runs.verify import verify_run
from tasks.store import Store, StoreError, newest_atlas

THREE = EvaluationSettings(episodes=3)


def test_checkpoints_are_videoed_once_measured_and_proved(small: TrainSettings, store: Store, tmp_path: Path) -> None:
    run_id = train(small).run_id
    first = record(RecordSettings(run=run_id, evaluation=THREE, steps=(512,)))
    assert [video.step for video in first.videos] == [512]
    second = record(RecordSettings(run=run_id[:10], evaluation=THREE))
    assert second.made == (1024,), "only what was saved after the last time"
    assert [video.step for video in second.videos] == [512, 1024]
    assert record(RecordSettings(run=run_id, evaluation=THREE)).made == ()
    for video in second.videos:
        mp4 = store.fetch_artifact(run_id, video.path, tmp_path)
        assert decoded_frames(mp4) == video.frames > 100
        evaluation = store.fetch_evaluation(run_id, video.step)
        returns = sorted(episode.episode_return for episode in evaluation.episodes)
        assert video.episode_return == returns[1], "the median of three"
        assert len({episode.ram_digest for episode in evaluation.episodes}) == 3
        assert dict(store.history(run_id, "eval/mean_reward"))[video.step] == pytest.approx(sum(returns) / 3)
        assert dict(store.history(run_id, "eval/median_reward"))[video.step] == returns[1]
        assert dict(store.history(run_id, "eval/distinct_episodes"))[video.step] == 3
    proofs = verify_run(store, run_id)
    assert [proof.ok for proof in proofs] == [True, True]
    assert all(proof.by_checkpoint for proof in proofs)


def decoded_frames(mp4: Path) -> int:
    """How many pictures ffmpeg gets out of a video."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(mp4)]
    command += ["-vf", "scale=2:2", "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    return len(subprocess.run(command, capture_output=True, check=True).stdout) // 4


def test_checkpoints_are_judged_as_was_asked_for_with_their_training(
    small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = EvaluationSettings(episodes=2, seed=5)
    run_id = train(small.model_copy(update={"evaluation": asked})).run_id
    # As an automation does it when a checkpoint is saved, and as a person does it later.
    assert record(RecordSettings(run=run_id, steps=(512,))).made == (512,)
    assert run(["record", run_id]) == 0
    assert "videos made: 1" in capfd.readouterr().out
    assert [evaluation.settings for evaluation in store.fetch_evaluations(run_id)] == [asked, asked]
    assert run(["record", run_id]) == 0
    assert "videos made: 0" in capfd.readouterr().out
    assert run(["record", run_id, "--seed", "6", "--again", "--checkpoint", "512"]) == 0
    assert store.fetch_evaluation(run_id, 512).settings == asked.model_copy(update={"seed": 6})
    capfd.readouterr()
    store.set_tag(run_id, "ramreel.evaluation", '{"episodes": 0}')
    assert run(["record", run_id]) == 2
    assert "the tag ramreel.evaluation of run random seed 1" in capfd.readouterr().err


def test_a_video_is_told_of_before_the_next_one_is_waited_for(
    small: TrainSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, told = train(small).run_id, list[int]()

    def stopped_at_the_second(future: PrefectFuture[RecordedCheckpoint]) -> str | None:
        if told:
            raise KeyboardInterrupt
        return why_it_failed(future)

    monkeypatch.setattr("flows.record.why_it_failed", stopped_at_the_second)
    monkeypatch.setattr("flows.record.log_milestones", lambda _, step: told.append(step))
    with pytest.raises(KeyboardInterrupt):
        record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1)))
    assert told == [512], "its video is whole, and is not made again"


def test_videos_are_made_again_only_when_asked_for(small: TrainSettings, store: Store) -> None:
    run_id = train(small).run_id
    record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1)))
    again = record(RecordSettings(run=run_id, evaluation=THREE, again=True))
    assert again.made == (512, 1024)
    assert [video.episodes for video in again.videos] == [3, 3]


def test_a_damaged_checkpoint_fails_alone_and_is_named(small: TrainSettings, store: Store) -> None:
    run_id = train(small).run_id
    spoilt = store.list_checkpoints(run_id)[0]
    assert store.address.artifacts is not None
    path = next(store.address.artifacts.rglob(f"{spoilt.model_id}/artifacts/features.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        RecordError, match=r"1 of 2 videos failed: step 512: .*features.safetensors is damaged"
    ) as caught:
        record(RecordSettings(run=run_id, evaluation=THREE))
    assert [video.step for video in caught.value.videos] == [1024], "the others are recorded"
    trained = store.run(run_id)
    assert trained.status == "FINISHED", "the training itself went well"
    assert "features.safetensors is damaged" in trained.tags["ramreel.reason"]


def test_an_encoder_that_does_not_work_is_told_and_leaves_no_video(
    small: TrainSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = train(small).run_id
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(RecordError, match="1 of 1 videos failed"):
        record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), steps=(512,)))
    assert store.videos(run_id) == {}
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), steps=(1024,)))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(RecordError, match="1 of 1 videos failed"):
        # Videos that are there already were not asked for.
        record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), steps=(512,)))
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    assert "1 of 1 videos failed: step 512" in store.run(run_id).tags["ramreel.reason"], "it is not made good yet"
    assert record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1))).made == (512,)
    assert not {"ramreel.reason", "mlflow.note.content"} & store.run(run_id).tags.keys()


def test_a_failure_without_words_is_called_by_its_kind() -> None:
    @task
    def video() -> RecordedCheckpoint:
        raise MemoryError

    @flow
    def video_one() -> str | None:
        return why_it_failed(video.submit())

    assert video_one() == "MemoryError"


def test_videos_outline_what_decides_where_there_is_an_atlas_that_can_be_read(
    small: TrainSettings, store: Store, tmp_path: Path
) -> None:
    run_id = train(small.model_copy(update={"steps": 512})).run_id
    one = EvaluationSettings(episodes=1)
    first = record(RecordSettings(run=run_id, evaluation=one))
    assert not first.outlined
    assert mark_of(store, first, tmp_path).outlines is None
    drawn = atlas(AtlasSettings(env_id="ALE/Breakout-v5", states=2, steps=200))
    for path in (drawn.atlas, drawn.sheet, drawn.page, drawn.table):
        assert Path(store.artifact_uri(drawn.run_id, path).removeprefix("file://")).is_file()
    again = record(RecordSettings(run=run_id, evaluation=one, again=True))
    assert again.outlined
    outlines = mark_of(store, again, tmp_path).outlines
    assert outlines is not None
    assert outlines.places
    assert [proof.ok for proof in verify_run(store, run_id)] == [True]
    store.log_text(drawn.run_id, "{}", drawn.atlas)
    with pytest.raises(StoreError, match="is no atlas"):
        newest_atlas(store, "breakout")
    third = record(RecordSettings(run=run_id, evaluation=one, again=True))
    assert third.made and not third.outlined, "an atlas that is damaged costs no video"
    assert newest_atlas(store, "pong") is None, "another game's"


def mark_of(store: Store, recorded: RecordedRun, folder: Path) -> EmbeddedTrace:
    return read_embedded_trace(store.fetch_artifact(recorded.run_id, recorded.videos[0].path, folder))[0]
