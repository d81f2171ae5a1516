"""Flow runs of killed commands are ended in Prefect."""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from helpers.approaches import settings_file
from helpers.processes import started, wait_until


def states(home: Path) -> dict[str, str]:
    """Return the states of the flow runs in Prefect's database by the first word of their names."""
    with closing(sqlite3.connect(home / "mlruns/prefect.db")) as database:
        return {name.split()[0]: state for name, state in database.execute("SELECT name, state_type FROM flow_run")}


def test_flow_run_of_a_killed_command_crashes_when_no_command_is_running(home: Path, tmp_path: Path) -> None:
    arguments = ["train", "ALE/Breakout-v5", "--settings", str(settings_file(tmp_path)), "--workers", "1"]
    with started([*arguments, "--steps", "1000000000"], home) as training:
        assert wait_until(lambda: "steps/s" in training.output()[1])
        with (home / "mlruns/commands.lock").open("a") as file, pytest.raises(BlockingIOError):
            # As the next command does before it ends orphaned flow runs.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        training.kill()
    assert states(home) == {"train": "RUNNING"}
    with started(["guard", "--quiet"], home) as guard:
        assert guard.wait()[0] == 0
    assert states(home) == {"train": "CRASHED", "guard": "COMPLETED"}
