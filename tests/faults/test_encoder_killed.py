"""A killed encoder is retried once, then the video fails, and no incomplete video is left."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.approaches import FAST
from helpers.processes import kill
from helpers.scale import takes_minutes

from flows.record import RecordError, record
from flows.train import train
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.runs.verify import verify_run
from tasks.store import open_store

pytestmark = takes_minutes
TRAIN = TrainSettings(
    env_id="ALE/Breakout-v5", approach=FAST, seed=5, steps=768, checkpoint_every=256, n_envs=1, workers=1
)
DIES_ONCE, ALWAYS_DIES, LIVES = 256, 512, 768


class EncoderKiller:
    """Kill the encoders of given checkpoints a given number of times, once they have written to their file."""

    def __init__(self, temporary: Path, deaths: dict[int, int]) -> None:
        self._temporary, self._deaths = temporary, deaths
        self.killed: Counter[int] = Counter()

    def kill_encoders(self) -> None:
        if not any(self._temporary.glob("ramreel-*/.video.mp4.*")):
            return
        for entry in Path("/proc").iterdir():
            try:
                arguments = (entry / "cmdline").read_bytes().decode().split("\0")
                video = Path(arguments[-2].removeprefix("file:")) if "rawvideo" in arguments else None
                if video is None or not video.is_relative_to(self._temporary) or not video.stat().st_size:
                    continue
                (checkpoint_file,) = video.parent.glob("checkpoint/**/checkpoint.json")
                step = json.loads(checkpoint_file.read_text())["step"]
            except (OSError, ValueError):
                continue
            if video.name.startswith(".video.mp4.") and self.killed[step] < self._deaths.get(step, 0):
                self.killed[step] += kill(int(entry.name))
                # While the file exists, the same encoder would be found and counted again.
                while video.exists():
                    time.sleep(0.01)


@contextmanager
def killing_in_background(killer: EncoderKiller) -> Iterator[None]:
    stopped = threading.Event()

    def loop() -> None:
        while not stopped.wait(0.01):
            killer.kill_encoders()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_killed_encoder_is_retried_once_and_other_videos_are_recorded(
    at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    store, run_id = open_store(), train(TRAIN).run_id
    settings = RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=1), video=VideoSettings(panel=False))
    killer = EncoderKiller(temporary, {DIES_ONCE: 1, ALWAYS_DIES: 100})
    with killing_in_background(killer), pytest.raises(RecordError) as failed:
        record(settings)
    assert killer.killed == {DIES_ONCE: 1, ALWAYS_DIES: 2}, "one retry"
    assert failed.value.failed.keys() == {ALWAYS_DIES}
    assert "video.mp4: ffmpeg was killed by signal 9 (Killed)" in failed.value.failed[ALWAYS_DIES]
    assert "1 of 3 videos failed: step 512: " in str(failed.value)
    assert str(failed.value) == store.run(run_id).tags["ramreel.reason"]
    assert list(store.complete_videos(run_id)) == [DIES_ONCE, LIVES]
    kept = {path.name[:14] for path in (at_home / "mlruns/artifacts").rglob("videos/**/step-*")}
    assert kept == {f"step-{DIES_ONCE:09d}", f"step-{LIVES:09d}"}, "no incomplete video is left"
    assert list(temporary.glob("ramreel-*")) == [], "no temporary file is left"
    assert [proof.ok for proof in verify_run(store, run_id)] == [True, True]
    assert record(settings).made == (ALWAYS_DIES,)
    assert [proof.ok for proof in verify_run(store, run_id)] == [True, True, True]
