"""An artifact whose file no longer exists is told apart from one that was never stored."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.arcade.settings.run import RunSettings
from tasks.store import MissingArtifactError, Store, StoredCheckpoint, StoreError
from tasks.store.connection import connect
from tasks.store.missing_artifacts import SETTINGS_DIGEST

DIGEST = "d" * 64


@pytest.fixture
def folder(store: Store, run_id: str) -> Path:
    """The folder of the run's artifacts."""
    assert store.address.artifacts is not None
    return store.address.artifacts / "ALE-Pong-v5" / run_id / "artifacts"


def missing(what: str, place: Path) -> str:
    return f"^{re.escape(f'{what} is missing: there is no {place}, although it was stored there; restore it')}"


@pytest.fixture
def stored(store: Store, run_id: str, checkpoint: Path) -> StoredCheckpoint:
    store.save_checkpoint(run_id, 500, checkpoint, DIGEST, training=checkpoint)
    return store.list_checkpoints(run_id)[0]


def test_settings_that_were_never_stored(store: Store, run_id: str, folder: Path) -> None:
    (folder / "settings.json").unlink()
    connect(store.address).delete_tag(run_id, SETTINGS_DIGEST)
    with pytest.raises(
        StoreError, match=rf"run {run_id} is unusable: it was stopped before its settings\.json was saved"
    ):
        store.run(run_id)
    assert [run.settings for run in store.iter_runs([run_id])] == [None]


@pytest.mark.parametrize("former", [False, True])
def test_missing_settings(store: Store, run_id: str, folder: Path, former: bool) -> None:
    if former:
        # Version 0.1 set no such tag.
        store.log_metrics(run_id, {"time/fps": 1.0}, 500)
        connect(store.address).delete_tag(run_id, SETTINGS_DIGEST)
    (folder / "settings.json").unlink()
    with pytest.raises(StoreError, match=missing(f"settings.json of run {run_id}", folder / "settings.json")):
        store.run(run_id)
    assert [run.settings for run in store.iter_runs([run_id])] == [None]


def test_files_of_a_run_that_is_being_deleted_for_good(store: Store, run_id: str, folder: Path) -> None:
    connect(store.address).delete_run(run_id)
    # As `mlflow gc` does it: the files, then the run.
    shutil.rmtree(folder)
    for request in (store.run, store.videos, lambda run: store.fetch_artifact(run, "settings.json", folder)):
        with pytest.raises(StoreError, match=f"^run {run_id} is not in the store: it was deleted for good"):
            request(run_id)


def test_settings_are_known_as_stored_only_once_they_are(
    store: Store, settings: RunSettings, start: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "log_text", killed)
        start(store, settings)
    (run_id,) = store.runs_named("ppo-7")
    with pytest.raises(StoreError, match=r"was stopped before its settings\.json was saved"):
        store.run(run_id)


def test_missing_folder_is_not_an_empty_one(store: Store, run_id: str, folder: Path) -> None:
    assert (store.videos(run_id), store.evaluations(run_id)) == ({}, ())
    shutil.rmtree(folder)
    for request in (store.videos, store.evaluations, store.complete_videos):
        with pytest.raises(MissingArtifactError, match=missing(f"the folder of the artifacts of run {run_id}", folder)):
            request(run_id)


def test_missing_checkpoint(store: Store, stored: StoredCheckpoint, folder: Path, tmp_path: Path) -> None:
    model = folder.parents[1] / "models" / stored.model_id / "artifacts"
    shutil.rmtree(model)
    what = f"the checkpoint at step 500 of run {stored.run_id}"
    with pytest.raises(MissingArtifactError, match=missing(what, model)):
        store.fetch_checkpoint(stored, tmp_path / "fetched")


def test_missing_training_state(store: Store, stored: StoredCheckpoint, folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "checkpoints/step-000000500")
    what = f"checkpoints/step-000000500 of run {stored.run_id}"
    with pytest.raises(MissingArtifactError, match=missing(what, folder / "checkpoints/step-000000500")):
        store.fetch_training_state(stored, tmp_path / "fetched")
