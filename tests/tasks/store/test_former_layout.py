"""A store written by version 0.1 is read under current names, and written in the current layout."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from helpers import former_store

from tasks.arcade.checkpoints import checkpoint as checkpoints
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.run import RunSettings
from tasks.store import LeaseError, Store, StoredVideo, newest_atlas
from tasks.store.former_layout import former_path
from tasks.store.values import flatten


@pytest.fixture
def former(home: Path, store: Store) -> Store:
    former_store.unpack(home)
    return store


ADDED = {
    "approach.algorithm.network.value_embeddings",
    "approach.features.controlled_bytes",
    "approach.features.position_bytes",
    "approach.features.value_indices",
}
"""Parameters that version 0.1 did not have."""


def settings_of(store: Store, name: str) -> RunSettings:
    settings = store.run(store.resolve_run(name)).settings
    assert settings is not None
    return settings


def test_former_runs_are_listed_with_their_settings(former: Store) -> None:
    runs = list(former.iter_runs(former.runs_tagged("ramreel.env_id", "ALE/Breakout-v5")))
    assert [run.name for run in runs] == ["atlas", "dqn", "tuned", "plain"]
    assert all(run.settings is not None and run.kind == "training" for run in runs[1:])
    tuned = settings_of(former, "tuned")
    assert (tuned.approach.features.kind, tuned.approach.features.moving_bytes) == ("standardized", 8)
    assert isinstance(tuned.approach.algorithm, PpoSettings)
    assert tuned.approach.algorithm.no_reward_logit_noise == 1.0


def test_former_parameters_differ_from_current_ones_in_nothing_but_the_description(former: Store) -> None:
    for name in ("plain", "tuned", "dqn"):
        former_run = former.run(former.resolve_run(name))
        assert former_run.settings is not None
        current = flatten(former_run.settings.model_dump(mode="json"))
        assert former_run.params == {name: value for name, value in current.items() if name not in ADDED}
        assert all(current.get(name, "0") == "0" for name in ADDED), "what version 0.1 did not have is off"


def test_former_checkpoints_are_read(former: Store, tmp_path: Path) -> None:
    found = {name: former.list_checkpoints(former.resolve_run(name)) for name in ("plain", "tuned", "dqn")}
    assert {name: [one.step for one in stored] for name, stored in found.items()} == {
        "plain": [256, 512],
        "tuned": [1024],
        "dqn": [1024],
    }
    for stored in (one for several in found.values() for one in several):
        read = checkpoints.read_checkpoint(former.fetch_checkpoint(stored, tmp_path), stored.digest)
        assert read.step == stored.step


def test_former_atlas_is_read(former: Store) -> None:
    atlas = newest_atlas(former, "breakout")
    assert atlas is not None
    kinds = Counter(entry.kind for entry in atlas.entries)
    assert atlas.objects
    assert {"appearance": 57, "x motion": 3, "y motion": 1, "score": 10}.items() <= kinds.items()


def test_former_evaluations_and_videos_are_read(former: Store) -> None:
    run_id = former.resolve_run("plain")
    assert former.evaluations(run_id) == (256, 512)
    assert [evaluation.recorded for evaluation in former.fetch_evaluations(run_id)] == [0, 0]
    assert former.complete_videos(run_id) == {
        step: StoredVideo(step=step, mp4=f"films/step-{step:09d}.mp4", trace=f"films/step-{step:09d}.trace.json")
        for step in (256, 512)
    }
    episodes = [Path(video.mp4).name for video in former.episode_videos(run_id, 256)]
    assert episodes == ["episode-01.mp4", "episode-02.mp4"]
    assert former.episode_videos(run_id, 512) == []


def test_video_recorded_again_replaces_the_former_one(former: Store, tmp_path: Path) -> None:
    run_id = former.resolve_run("plain")
    (tmp_path / "new.mp4").write_bytes(b"new")
    (tmp_path / "new.json").write_text("{}")
    saved = former.save_video(run_id, 512, tmp_path / "new.mp4", tmp_path / "new.json")
    episode = former.save_video(run_id, 256, tmp_path / "new.mp4", tmp_path / "new.json", episode="episode-02")
    assert former.video_folders(run_id) == ("films", "videos")
    assert (saved.mp4, episode.mp4) == ("videos/step-000000512.mp4", "videos/step-000000256/episode-02.mp4")
    videos = former.videos(run_id)
    assert list(videos) == [256, 512]
    assert (videos[256].mp4, videos[512]) == ("films/step-000000256.mp4", saved)
    assert [video.mp4 for video in former.episode_videos(run_id, 256)] == [
        "films/step-000000256/episode-01.mp4",
        "videos/step-000000256/episode-02.mp4",
    ]


def test_half_saved_video_does_not_hide_the_former_one(former: Store) -> None:
    run_id = former.resolve_run("plain")
    former.log_text(run_id, "{}", "videos/step-000000512.trace.json")
    assert former.videos(run_id)[512].mp4 == "films/step-000000512.mp4"
    assert former.videos(run_id)[512].trace == "films/step-000000512.trace.json"


def test_former_recording_lease_is_respected(former: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = former.resolve_run("plain")
    held = {"token": "t", "host": "elsewhere", "process": 1, "beat": time.time()}
    former.set_tag(run_id, "ramreel.filming", json.dumps(held))
    with pytest.raises(LeaseError, match="is being recorded by process 1 on elsewhere"):
        former.recording_lease(run_id).raise_if_held()
    monkeypatch.setattr("tasks.store.lease._OBSERVE_SECONDS", 0.1)
    monkeypatch.setattr("tasks.store.lease._WAIT_SECONDS", 0.1)
    former.set_tag(run_id, "ramreel.filming", json.dumps(held | {"beat": time.time() - 1000}))
    with former.recording_lease(run_id):
        assert "ramreel.recording" in former.run(run_id).tags


@pytest.mark.parametrize(
    ("path", "former"),
    [
        ("videos", "films"),
        ("videos/step-000000001.mp4", "films/step-000000001.mp4"),
        ("evaluations/step-000000001.json", "evaluations/step-000000001.json"),
        ("videos.txt", "videos.txt"),
    ],
)
def test_former_path_renames_only_the_folder(path: str, former: str) -> None:
    assert former_path(path) == former
