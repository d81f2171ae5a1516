"""Runs share a machine by its cores and its memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from flows.runtime import machine_share as module
from flows.runtime.machine_share import RUN_BYTES, MachineShare, machine_share
from tasks.arcade.rollouts.memory_limit import available_memory


@pytest.mark.parametrize(
    ("runs", "workers", "cores", "memory", "share"),
    [
        (1, None, 8, 100, (1, 8)),
        (4, None, 2, 100, (2, 1)),
        (4, None, 1, 100, (1, 1)),
        (2, None, 8, 100, (2, 4)),
        (5, None, 4, 100, (3, 1)),
        (100, None, 64, 20, (20, 3)),
        (4, None, 4, 0, (1, 4)),
        (4, 1, 2, 100, (2, 1)),
        (4, 2, 2, 100, (1, 2)),
        (4, 8, 2, 100, (1, 2)),
        (0, None, 2, 100, (1, 2)),
    ],
)
def test_share(
    runs: int,
    workers: int | None,
    cores: int,
    memory: int,
    share: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "cores", lambda: cores)
    monkeypatch.setattr(module, "available_memory", lambda: memory * RUN_BYTES)
    assert machine_share(runs, workers) == MachineShare(*share)


@pytest.mark.parametrize(
    ("membership", "files", "memory"),
    [
        ("0::/a", {"a/memory.max": "3000000", "a/memory.current": "2000000", "a/memory.stat": "inactive_file 500000"},
         1_500_000),
        ("0::/a", {"a/memory.max": "max", "a/memory.current": "2000000", "a/memory.stat": "anon 1"}, 8_192_000),
        ("0::/a", {"memory.max": "1000", "memory.current": "2000", "memory.stat": ""}, 0),
        ("9:memory:/a",
         {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "400",
          "memory/memory.stat": "total_inactive_file 100"}, 700),
        ("", {}, 8_192_000),
    ],
)  # fmt: skip
def test_available_memory(membership: str, files: Mapping[str, str], memory: int, tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(membership + "\n")
    (tmp_path / "proc/meminfo").write_text("MemTotal:  16000 kB\nMemAvailable:   8000 kB\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert available_memory(tmp_path) == memory
