"""Every checkpoint has a verified video, and is recorded once."""

import json
from pathlib import Path

import imageio.v3 as iio
import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort, TaskRunSort
from prefect.futures import PrefectFuture

from flows.atlas import atlas
from flows.cli.app import run
from flows.record import RecordedCheckpoint, RecordedRun, RecordError, failure_reason, record
from flows.train import train
from tasks.arcade.inputs.forms import AtlasSettings, RecordSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.video.embedded_trace import EmbeddedTrace, read_embedded_trace
from tasks.runs.verify import verify_run
from tasks.store import Store, StoreError, newest_atlas

ONE, THREE = EvaluationSettings(episodes=1), EvaluationSettings(episodes=3)


def test_checkpoints_are_recorded_once_and_verified(small: TrainSettings, store: Store, tmp_path: Path) -> None:
    run_id = train(small).run_id
    first = record(RecordSettings(run=run_id, evaluation=THREE, steps=(512,)))
    assert [video.step for video in first.videos] == [512]
    second = record(RecordSettings(run=run_id[:10], evaluation=THREE))
    assert second.made == (1024,), "only the checkpoint saved since"
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


def test_highlight_is_recorded_on_request(small: TrainSettings, store: Store, tmp_path: Path) -> None:
    run_id = train(small.model_copy(update={"steps": 512})).run_id
    assert run(["record", run_id, "--episodes", "1", "--highlight", "1"]) == 0
    (video,) = record(RecordSettings(run=run_id, evaluation=ONE)).videos
    assert video.highlight == "videos/step-000000512.highlight.mp4"
    assert decoded_frames(store.fetch_artifact(run_id, video.highlight, tmp_path)) == 60
    assert list(store.videos(run_id)) == [512], "it is no video of a checkpoint"
    assert [proof.ok for proof in verify_run(store, run_id)] == [True]
    assert run(["record", run_id, "--highlight", "0"]) == 2


def test_checkpoint_plays_from_pixels(
    small: TrainSettings, store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_id = train(small).run_id
    arguments = ["record", run_id, "--from-pixels", "--checkpoint", "1024", "--episodes", "2", "--json"]
    assert run(arguments) == 0
    output = capfd.readouterr().out.strip().splitlines()[-1]
    (video,) = json.loads(output)["videos"]
    assert video["path"] == "videos/step-000001024/from-pixels-follow.mp4"
    returns = video["returns"]
    assert {source: len(values) for source, values in returns.items()} == {"true": 2, "followed": 2, "random": 2}
    embedded, _ = read_embedded_trace(store.fetch_artifact(run_id, video["path"], tmp_path))
    assert embedded.trace.from_pixels is not None
    assert embedded.trace.from_pixels.method == "follow"
    assert store.run(run_id).metrics["from_pixels/return_followed"] == sum(returns["followed"]) / 2
    assert "Mean return from pixels" in store.run(run_id).tags["mlflow.note.content"]
    assert store.evaluations(run_id) == (), "it is not the evaluation of the checkpoint"
    (proof,) = verify_run(store, run_id)
    assert (proof.ok, proof.by_checkpoint, proof.observed) == (True, True, "followed")
    assert run(arguments[:-1]) == 0
    assert "videos recorded: 0" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from-pixels", "--method", "decode"], "there is no decoder of ALE/Breakout-v5: `ramreel decode"),
        (["--from-pixels", "--method", "guess"], "--method: "),
        (["--from-pixels", "--decoder", "nosuch"], "nosuch"),
        (["--method", "decode"], "add from-pixels"),
        (["--from-pixels", "--highlight", "5"], "leave out highlight or from-pixels"),
    ],
)
def test_pixels_that_cannot_be_read_are_rejected(
    arguments: list[str], message: str, small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = run_settings(small)
    run_id = store.start_run(settings, name="run", command="ramreel train", versions={}, commit=None)
    assert run(["record", run_id, *arguments]) == 2
    error = capfd.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def decoded_frames(mp4: Path) -> int:
    """Return the number of frames decoded from a video."""
    return sum(1 for _ in iio.imiter(mp4, plugin="pyav", format="gray"))


def test_run_is_looked_up_once_per_flow_run(small: TrainSettings) -> None:
    run_id = train(small.model_copy(update={"steps": 512, "name": "unique"})).run_id
    assert record(RecordSettings(run="unique", evaluation=ONE)).run_id == run_id
    record(RecordSettings(run=run_id, evaluation=ONE))
    with get_client(sync_client=True) as client:
        names = [run.name for run in client.read_task_runs(sort=TaskRunSort.EXPECTED_START_TIME_DESC)]
        flow_runs = [run.name for run in client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)]
    assert [name for name in names if name.startswith("look up run") and "unique" in name] == ["look up run unique"]
    assert not [name for name in names if name.startswith("look up run") and run_id in name], "an id needs no lookup"
    assert {"record unique", "record ALE/Breakout-v5 unique"} <= set(flow_runs)


def test_checkpoints_are_evaluated_as_set_for_their_training_run(
    small: TrainSettings, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluation = EvaluationSettings(episodes=2, seed=5)
    run_id = train(small.model_copy(update={"evaluation": evaluation})).run_id
    # As the automation does when a checkpoint is saved, and as a user does later.
    assert record(RecordSettings(run=run_id, steps=(512,))).made == (512,)
    assert run(["record", run_id]) == 0
    assert "videos recorded: 1" in capfd.readouterr().out
    assert [stored.settings for stored in store.fetch_evaluations(run_id)] == [evaluation, evaluation]
    assert run(["record", run_id]) == 0
    assert "videos recorded: 0" in capfd.readouterr().out
    assert run(["record", run_id, "--seed", "6", "--again", "--checkpoint", "512"]) == 0
    assert store.fetch_evaluation(run_id, 512).settings == evaluation.model_copy(update={"seed": 6})
    capfd.readouterr()
    store.set_tag(run_id, "ramreel.evaluation", '{"episodes": 0}')
    assert run(["record", run_id]) == 2
    assert "the tag ramreel.evaluation of run fast seed 1" in capfd.readouterr().err


def test_video_is_reported_before_the_next_one_is_finished(
    small: TrainSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, reported = train(small).run_id, list[int]()

    def interrupted_at_the_second(future: PrefectFuture[RecordedCheckpoint]) -> str | None:
        if reported:
            raise KeyboardInterrupt
        return failure_reason(future)

    monkeypatch.setattr("flows.record.failure_reason", interrupted_at_the_second)
    monkeypatch.setattr("flows.record.log_milestones", lambda _, step: reported.append(step))
    with pytest.raises(KeyboardInterrupt):
        record(RecordSettings(run=run_id, evaluation=ONE))
    assert reported == [512], "its video is complete and is not recorded again"


def test_videos_are_replaced_only_on_request(small: TrainSettings, store: Store) -> None:
    run_id = train(small).run_id
    record(RecordSettings(run=run_id, evaluation=ONE))
    again = record(RecordSettings(run=run_id, evaluation=THREE, again=True))
    assert again.made == (512, 1024)
    assert [video.episodes for video in again.videos] == [3, 3]


def test_damaged_checkpoint_fails_alone_and_is_named(small: TrainSettings, store: Store) -> None:
    run_id = train(small).run_id
    damaged = store.list_checkpoints(run_id)[0]
    assert store.address.artifacts is not None
    path = next(store.address.artifacts.rglob(f"{damaged.model_id}/artifacts/features.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        RecordError, match=r"1 of 2 videos failed: step 512: .*features.safetensors is damaged"
    ) as caught:
        record(RecordSettings(run=run_id, evaluation=THREE))
    assert [video.step for video in caught.value.videos] == [1024], "the other one is recorded"
    trained = store.run(run_id)
    assert trained.status == "FINISHED", "training itself succeeded"
    assert "features.safetensors is damaged" in trained.tags["ramreel.reason"]


def test_failing_encoder_is_reported_and_leaves_no_video(
    small: TrainSettings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = train(small).run_id
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(RecordError, match="1 of 1 video failed"):
        record(RecordSettings(run=run_id, evaluation=ONE, steps=(512,)))
    assert store.videos(run_id) == {}
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    record(RecordSettings(run=run_id, evaluation=ONE, steps=(1024,)))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(RecordError, match="1 of 1 video failed"):
        # The existing video was not requested.
        record(RecordSettings(run=run_id, evaluation=ONE, steps=(512,)))
    monkeypatch.delenv("IMAGEIO_FFMPEG_EXE")
    assert "1 of 1 video failed: step 512" in store.run(run_id).tags["ramreel.reason"], "still missing"
    assert record(RecordSettings(run=run_id, evaluation=ONE)).made == (512,)
    tags = store.run(run_id).tags
    assert "ramreel.reason" not in tags
    assert tags["mlflow.note.content"].startswith("Mean return ")


def test_failure_without_a_message_is_named_by_its_type() -> None:
    @task
    def video() -> RecordedCheckpoint:
        raise MemoryError

    @flow
    def record_one() -> str | None:
        return failure_reason(video.submit())

    assert record_one() == "MemoryError"


def test_videos_have_outlines_if_a_valid_atlas_exists(small: TrainSettings, store: Store, tmp_path: Path) -> None:
    run_id = train(small.model_copy(update={"steps": 512})).run_id
    first = record(RecordSettings(run=run_id, evaluation=ONE))
    assert not first.outlined
    assert embedded_trace(store, first, tmp_path).outlines is None
    built = atlas(AtlasSettings(env_id="ALE/Breakout-v5", states=2, steps=200))
    for path in (built.atlas, built.poster, built.page, built.table):
        assert Path(store.artifact_uri(built.run_id, path).removeprefix("file://")).is_file()
    again = record(RecordSettings(run=run_id, evaluation=ONE, again=True))
    assert again.outlined
    outlines = embedded_trace(store, again, tmp_path).outlines
    assert outlines is not None
    assert outlines.places
    assert [proof.ok for proof in verify_run(store, run_id)] == [True]
    store.log_text(built.run_id, "{}", built.atlas)
    with pytest.raises(StoreError, match="is not an atlas"):
        newest_atlas(store, "breakout")
    third = record(RecordSettings(run=run_id, evaluation=ONE, again=True))
    assert third.made and not third.outlined, "a damaged atlas does not prevent recording"
    assert newest_atlas(store, "pong") is None, "of another game"


def embedded_trace(store: Store, recorded: RecordedRun, folder: Path) -> EmbeddedTrace:
    return read_embedded_trace(store.fetch_artifact(recorded.run_id, recorded.videos[0].path, folder))[0]
