"""The disk is full: the run fails with that reason, stored data stays readable, and the run can be resumed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.approaches import FAST
from helpers.disks import REASON, Disk, limited_files, may_mount, small_tmpfs
from helpers.evidence import histories, valid_checkpoints
from helpers.scale import takes_minutes

from flows.record import RecordError, record
from flows.train import resume, train
from tasks.arcade.inputs.forms import RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.progress import Progress
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.runs.verify import verify_run
from tasks.store import Store, StoreError, open_store

pytestmark = takes_minutes
KINDS = {"tmpfs": small_tmpfs, "limit": limited_files}
MOUNTS = may_mount()
TRAIN = TrainSettings(
    env_id="ALE/Breakout-v5", approach="ppo-tuned", seed=5, steps=10_000, checkpoint_every=4000, workers=2
)
ROOM = {"a checkpoint": {"tmpfs": 1024**2, "limit": 970_000}, "a metric": {"tmpfs": 0, "limit": 100_000}}
"""Free bytes: more than the metrics need and less than a checkpoint; less than either."""


@pytest.fixture(params=["tmpfs", "limit"] if MOUNTS else ["limit"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with KINDS[request.param](tmp_path / request.param) as disk:
        yield disk


@pytest.fixture
def store(disk: Disk, migrated: Path, at_home: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store on the small disk, like all temporary files."""
    (disk.folder / "mlruns").mkdir()
    (disk.folder / "mlruns/mlflow.db").write_bytes(migrated.read_bytes())
    monkeypatch.setenv("RAMREEL_HOME", str(disk.folder))
    monkeypatch.setenv("TMPDIR", str(disk.folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return open_store()


class Filling(ProgressSink):
    """A progress sink that fills the disk after the first checkpoint."""

    def __init__(self, disk: Disk, left: int) -> None:
        self._disk, self._left = disk, left
        self.filled = False

    def update(self, name: str, progress: Progress) -> None:
        if progress.step > 6000 and not self.filled:
            self.filled = True
            self._disk.fill(self._left)

    def log(self, line: str) -> None:
        pass


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Store, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        return open_store(), train(TRAIN).run_id


@pytest.mark.parametrize("during", ROOM)
def test_training_fails_with_the_reason_and_is_resumed_when_there_is_space(
    during: str, disk: Disk, store: Store, undisturbed: tuple[Store, str], tmp_path: Path
) -> None:
    filling = Filling(disk, ROOM[during][disk.folder.name])
    with use_sink(filling), pytest.raises((StoreError, OSError), match=REASON):
        train(TRAIN)
    assert filling.filled
    run_id = store.resolve_run("latest")
    # Reading needs space as well: MLflow returns copies.
    disk.make_space()
    assert valid_checkpoints(store, run_id, tmp_path / "meanwhile")[0] == 4096, "stored checkpoints stay readable"
    trained = resume(ResumeSettings(run=run_id, workers=2))
    reference, reference_id = undisturbed
    assert trained.checkpoints[-1].digest == reference.list_checkpoints(reference_id)[-1].digest
    assert histories(store, run_id) == histories(reference, reference_id), "no gap, no step logged twice"
    assert store.run(run_id).status == "FINISHED"


def test_recording_fails_with_the_reason_and_continues_when_there_is_space(
    disk: Disk, store: Store, tmp_path: Path
) -> None:
    pong = TrainSettings(env_id="ALE/Pong-v5", approach=FAST, steps=512, checkpoint_every=256, n_envs=1, workers=1)
    run_id, evaluation = train(pong).run_id, EvaluationSettings(episodes=1)
    record(RecordSettings(run=run_id, evaluation=evaluation, steps=(256,)))
    (first,) = store.complete_videos(run_id).values()
    video = store.fetch_artifact(run_id, first.mp4, tmp_path / "before").read_bytes()
    disk.fill(len(video) // 2)
    with pytest.raises(RecordError, match=r"1 of 1 video failed: step 512: ") as failed:
        record(RecordSettings(run=run_id, evaluation=evaluation))
    assert re.search(REASON, failed.value.failed[512])
    assert [made.step for made in failed.value.videos] == [256]
    assert list(store.complete_videos(run_id)) == [256]
    disk.make_space()
    assert store.fetch_artifact(run_id, first.mp4, tmp_path / "meanwhile").read_bytes() == video
    assert record(RecordSettings(run=run_id, evaluation=evaluation)).made == (512,)
    assert [proof.ok for proof in verify_run(store, run_id)] == [True, True]
    leftovers = [path.name for path in disk.folder.iterdir() if path.name.startswith("ramreel-")]
    assert leftovers == [], "temporary files are gone"
