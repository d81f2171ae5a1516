"""Prefect's book of what commands typed at a shell do, where they are killed."""

from __future__ import annotations

import fcntl
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from helpers.processes import started, wait_until

LONG = ["train", "ALE/Breakout-v5", "--approach", "random", "--steps", "1000000000", "--n-envs", "1", "--workers", "1"]


def states(home: Path) -> dict[str, str]:
    """Of the flow runs in Prefect's database, by the beginnings of their names."""
    with closing(sqlite3.connect(home / "mlruns/prefect.db")) as database:
        return {name.split()[0]: state for name, state in database.execute("SELECT name, state_type FROM flow_run")}


def test_what_a_killed_command_did_is_over_once_no_command_lives(home: Path) -> None:
    with started(LONG, home) as long:
        assert wait_until(lambda: "steps/s" in long.said()[1])
        with (home / "mlruns/commands.lock").open("a") as file, pytest.raises(BlockingIOError):
            # As the next command does, before it calls anything crashed.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        long.kill()
    assert states(home) == {"train": "RUNNING"}
    with started(["guard", "--quiet"], home) as short:
        assert short.done()[0] == 0
    assert states(home) == {"train": "CRASHED", "guard": "COMPLETED"}
