"""Commands in the environment of a service account, a container or cron."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.disks import may_mount
from helpers.processes import ROOT, error_lines, started

TRAIN = ["train", "ALE/Breakout-v5", "--approach", "random", "--steps", "100", "--json"]


@pytest.mark.parametrize("user_home", ["/nonexistent", "/dev/null"])
def test_user_without_a_home_trains(user_home: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    with started(TRAIN, home, {"HOME": user_home}) as command:
        code, out, errors = command.wait()
    assert code == 0, errors
    assert json.loads(out)["steps"] == 100
    assert "Warning" not in errors
    assert (home / "mlruns" / "prefect").is_dir()


@pytest.mark.skipif(not may_mount(), reason="needs permission to mount")
def test_machine_without_shared_memory_is_named_before_anything_starts(home: Path) -> None:
    script = 'mount -t tmpfs -o ro tmpfs /dev/shm && exec "$0" -m flows "$@"'
    ended = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, sys.executable, *TRAIN], cwd=ROOT,
        env={**os.environ, "RAMREEL_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    (error,) = error_lines(ended.stderr)
    assert error.startswith("ramreel: Worker processes need shared memory, but /dev/shm cannot be used (")
    assert not (home / "mlruns" / "prefect.db").exists()
