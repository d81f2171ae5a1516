"""The status of a store whose disk is full."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.disks import may_mount, small_tmpfs

from tasks.services.status import status
from tasks.store import Store, open_store


@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted")
def test_full_disk_is_reported(store: Store, migrated: Path, tmp_path: Path) -> None:
    assert status(store).disk_error is None
    with small_tmpfs(tmp_path / "small") as disk:
        database = disk.folder / "mlruns/mlflow.db"
        database.parent.mkdir()
        shutil.copy(migrated, database)
        full = open_store(f"sqlite:///{database}")
        disk.fill(0)
        found = status(full)
        assert found.disk_error == f"the disk of {database.parent} is full: 0.0 MB free, the servers need 50.0 MB"
        assert found.reports == (), "what is stored can be read"
