"""A disk that cannot hold a training run is noticed before it starts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.disks import may_mount, small_tmpfs

from tasks.arcade.settings.run import RunSettings
from tasks.runs.disk_space import FullDiskError, low_disk_warning, require_space
from tasks.store import Store, open_store, stored_size
from tasks.store.address import Address

HUGE = {"steps": 10**10, "checkpoint_every": 1000}
"""More checkpoints than any disk holds."""


def test_disk_with_space_is_not_mentioned(store: Store, settings: RunSettings) -> None:
    assert low_disk_warning(store, settings) == ""
    assert low_disk_warning(Store(Address("http://localhost:5000", None)), settings.model_copy(update=HUGE)) == ""


def test_warning_says_how_much_is_needed(store: Store, settings: RunSettings, run_id: str, checkpoint: Path) -> None:
    huge = settings.model_copy(update=HUGE)
    warning = low_disk_warning(store, huge)
    assert re.fullmatch(
        r"low disk space: [\d,.]+ [MG]B free in \S+, and [\d,]+ checkpoints with videos need about [\d,]+\.\d GB; "
        r"`ramreel prune` lists what can go",
        warning,
    )
    assert "100,0" in warning, "GB, at 10 MB per checkpoint"
    for step in (500, 1000):
        store.save_checkpoint(run_id, step, checkpoint, "d" * 64, training=checkpoint)
    store.finish_run(run_id, "FINISHED")
    bytes_each = stored_size(store, run_id) // 2
    assert bytes_each > 2 * (checkpoint / "policy.safetensors").stat().st_size
    checkpoints = -(-huge.last_step // 1000)
    assert f"need about {checkpoints * bytes_each / 10**9:,.1f} GB" in low_disk_warning(store, huge)


@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted")
def test_servers_are_not_started_on_a_full_disk(store: Store, tmp_path: Path) -> None:
    require_space(store)
    with small_tmpfs(tmp_path / "small") as disk:
        full = open_store(f"sqlite:///{disk.folder}/mlruns/mlflow.db")
        disk.fill(10**6)
        with pytest.raises(FullDiskError, match=r"^the disk of \S+ is full: 1\.\d MB free, the servers need 50\.0 MB$"):
            require_space(full)
