from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from helpers.disks import may_mount, small_tmpfs

from tasks.arcade.settings.run import RunSettings
from tasks.store import file_systems, open_store
from tasks.store.file_systems import is_on_network


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a file system that counts as one of another machine."""
    if not may_mount():
        pytest.skip("mounting is not permitted here")
    monkeypatch.setattr(file_systems, "NETWORK_TYPES", {"tmpfs"})
    # The kernel writes a space as an escape.
    with small_tmpfs(tmp_path / "of another machine é") as disk:
        yield disk.folder


def journal_mode(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_network_file_system_is_recognized(network: Path, tmp_path: Path) -> None:
    (network / "deeper").mkdir()
    assert is_on_network(network)
    assert is_on_network(network / "deeper")
    assert not is_on_network(tmp_path)


def test_new_store_has_no_write_ahead_log(network: Path, settings: RunSettings, start: Callable[..., str]) -> None:
    store = open_store(f"sqlite:///{network}/mlruns/mlflow.db")
    start(store, settings)
    assert journal_mode(network / "mlruns/mlflow.db") == "delete"


def test_moved_store_loses_its_write_ahead_log(
    network: Path, migrated: Path, settings: RunSettings, start: Callable[..., str]
) -> None:
    (network / "mlruns").mkdir()
    database = network / "mlruns/mlflow.db"
    shutil.copy(migrated, database)
    assert journal_mode(database) == "wal"
    store = open_store(f"sqlite:///{database}")
    assert store.run(start(store, settings)).settings == settings
    assert journal_mode(database) == "delete"
