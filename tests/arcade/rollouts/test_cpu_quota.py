"""The CPU quota of a control group limits the number of cores that are used."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tasks.arcade.rollouts.cpu_quota import cpu_quota
from tasks.arcade.rollouts.worker_pool import cores


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, None),
        # A service of systemd in a slice with a smaller quota.
        ("0::/a.slice/b.service", {"a.slice/cpu.max": "50000 50000", "a.slice/b.service/cpu.max": "400000 100000"}, 1),
        ("0::/a.slice", {"a.slice/cpu.max": "max 100000", "cpu.max": "200000 100000"}, 2),
        ("0::/../../outside", {"cpu.max": "200000 100000"}, 2),
        # A container in cgroup v1 sees its path on the host, and its own group mounted as the root.
        ("4:cpu,cpuacct:/docker/abc\n0::/", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, None),
        ("3:cpuset:/a\n", {"cpu/a/cpu.cfs_quota_us": "50000", "cpu/a/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
    ],
)
def test_quota(membership: str, files: Mapping[str, str], quota: float | None, tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(membership + "\n")
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert cpu_quota(tmp_path) == quota


def test_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with a quota of half a core, which allows one worker."""
    name = f"ramreel-test-{uuid4().hex}"
    v1, v2 = Path("/sys/fs/cgroup/cpu") / name, Path("/sys/fs/cgroup") / name
    group, limit = (v1, "cpu.cfs_quota_us") if v1.parent.is_dir() else (v2, "cpu.max")
    try:
        group.mkdir()
        (group / limit).write_text("50000")
        yield group
    except OSError as error:
        pytest.skip(f"control groups cannot be created here: {error}")
    finally:
        if group.is_dir():
            group.rmdir()


@pytest.mark.skipif(cores() < 2, reason="a single core needs no quota")
def test_process_with_a_quota_uses_fewer_cores(small_group: Path) -> None:
    code = "from tasks.arcade.rollouts.worker_pool import cores; print(cores())"
    started = subprocess.run(
        ["sh", "-c", f'echo $$ > "{small_group}/cgroup.procs"; exec "$0" -c "$1"', sys.executable, code],
        env={**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert started.stdout == "1\n"
