"""A store in use is backed up to one file, and restored elsewhere with everything that it refers to."""

from __future__ import annotations

import sqlite3
import tarfile
import threading
from pathlib import Path

import pytest

from tasks.arcade.settings.run import RunSettings
from tasks.store import Store, StoreError, open_store, restore_backup, write_backup
from tasks.store.address import Address, find_address
from tasks.store.connection import connect


def place(folder: Path) -> Address:
    return find_address(f"sqlite:///{folder}/mlruns/mlflow.db")


@pytest.mark.parametrize("name", ["backup.tar", "backup.tar.gz"])
def test_store_in_use_is_restored_elsewhere(
    name: str, store: Store, run_id: str, checkpoint: Path, tmp_path: Path
) -> None:
    assert store.address.database
    with sqlite3.connect(store.address.database.with_name("optuna.db")) as studies:
        studies.execute("CREATE TABLE studies (name TEXT)")
    studies.close()
    stop, saved = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            saved.append(store.save_checkpoint(run_id, len(saved) + 1, checkpoint, "d" * 64, training=checkpoint))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        written = write_backup(store.address, tmp_path / name, {"ramreel": "0.2.0"})
    finally:
        stop.set()
        writer.join()
    assert written.databases == ("mlflow.db", "optuna.db")
    assert [path.name for path in tmp_path.iterdir() if "backup" in path.name] == [name]

    restored = restore_backup(tmp_path / name, place(tmp_path / "elsewhere"))
    assert restored == written
    other = open_store(place(tmp_path / "elsewhere").uri)
    assert other.run(run_id).settings == store.run(run_id).settings
    checkpoints = other.list_checkpoints(run_id)
    assert [one.step for one in checkpoints] == list(range(1, len(checkpoints) + 1))
    for one in checkpoints:
        for folder in (other.fetch_checkpoint(one, tmp_path / "p"), other.fetch_training_state(one, tmp_path / "t")):
            assert (folder / "policy.safetensors").read_bytes() == (checkpoint / "policy.safetensors").read_bytes()
    assert (tmp_path / "elsewhere/mlruns/optuna.db").exists()
    assert not [path for path in tmp_path.rglob(".*") if path.name.startswith((".backup", ".restore"))]


def test_nothing_is_overwritten(store: Store, run_id: str, tmp_path: Path) -> None:
    write_backup(store.address, tmp_path / "backup.tar", {})
    with pytest.raises(StoreError, match=r"exists: move the store there away, or set RAMREEL_HOME"):
        restore_backup(tmp_path / "backup.tar", store.address)
    assert store.run(run_id).status == "RUNNING"


def test_only_whole_backups_are_restored(store: Store, run_id: str, tmp_path: Path) -> None:
    whole = tmp_path / "backup.tar"
    write_backup(store.address, whole, {})
    (tmp_path / "text.tar").write_text("text")
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "text.tar", "text")
    (tmp_path / "half.tar").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with tarfile.open(whole) as archive, tarfile.open(tmp_path / "cut.tar", "w") as cut:
        for member in archive.getmembers()[:-1]:
            cut.addfile(member, archive.extractfile(member))
    for name in ("text", "other", "half", "cut"):
        with pytest.raises(StoreError, match=r"is not a whole backup of `ramreel backup`: "):
            restore_backup(tmp_path / f"{name}.tar", place(tmp_path / "elsewhere"))
        assert list((tmp_path / "elsewhere/mlruns").iterdir()) == [], name


def test_what_cannot_be_backed_up_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="does not exist: there is nothing to back up"):
        write_backup(place(tmp_path / "new"), tmp_path / "backup.tar", {})
    with pytest.raises(StoreError, match="is not an embedded store: back up its database"):
        write_backup(Address("http://localhost:5000", None), tmp_path / "backup.tar", {})
    assert store.address.database
    prefect = store.address.database.with_name("prefect.db")
    prefect.write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(StoreError, match=r"prefect\.db"):
        write_backup(store.address, tmp_path / "backup.tar", {})
    assert not (tmp_path / "backup.tar").exists()


def test_store_of_a_newer_version_is_not_restored(store: Store, settings: RunSettings, tmp_path: Path) -> None:
    connect(store.address)
    assert store.address.database
    with sqlite3.connect(store.address.database) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffff00000000'")
    database.close()
    write_backup(store.address, tmp_path / "backup.tar", {})
    with pytest.raises(StoreError, match=r"written by a newer version of mlflow \(schema ffff00000000\): upgrade"):
        restore_backup(tmp_path / "backup.tar", place(tmp_path / "elsewhere"))
