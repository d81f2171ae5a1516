"""The disk of `ramreel up` is full for a while: it reports that, stays up, and continues when there is space again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers.approaches import FAST
from helpers.disks import Disk, may_mount, small_tmpfs
from helpers.evidence import histories, valid_checkpoints
from helpers.processes import wait_until
from helpers.scale import takes_minutes
from helpers.unattended import Unattended

pytestmark = [takes_minutes, pytest.mark.skipif(not may_mount(), reason="mounting a disk is not permitted")]
SIZE = 400 * 1024**2
EVERY, STEPS, ROLLOUT = 16_384, 400_000, 128
TRAINING = {
    "env_id": "ALE/Breakout-v5",
    "approach": FAST.model_dump(mode="json"),
    "steps": STEPS,
    "checkpoint_every": EVERY,
}
TIMEOUT_SECONDS = 900
"""For machines with other load."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_tmpfs(tmp_path / "home", SIZE) as disk:
        yield disk


@pytest.fixture
def up(disk: Disk) -> Iterator[Unattended]:
    with Unattended.running(disk.folder) as up:
        yield up


def eventually(condition: Callable[[], object]) -> bool:
    return wait_until(condition, TIMEOUT_SECONDS, every=0.5)


def is_completed_after(up: Unattended, moment: datetime) -> bool:
    """Whether a guard that was planned for a later time is completed."""
    return any(
        run["state_name"] == "Completed" and datetime.fromisoformat(run["expected_start_time"]) > moment
        for run in up.scheduled("guard")
    )


def test_full_disk_is_named_and_the_next_scheduled_run_is_executed(up: Unattended, disk: Disk, tmp_path: Path) -> None:
    training = up.run("train", {**TRAINING, "seed": 1})
    assert eventually(lambda: (run_id := up.trained_by(training)) and up.store.list_checkpoints(run_id))
    run_id = up.trained_by(training)
    assert run_id
    up.switch("guard", active=True, schedule={"cron": "* * * * *"})
    assert eventually(lambda: is_completed_after(up, datetime.min.replace(tzinfo=UTC)))

    disk.fill(0)
    full_since = datetime.now(UTC)
    assert eventually(lambda: up.ramreel("status")["disk_error"])
    assert "is full" in up.ramreel("status")["disk_error"]
    assert eventually(lambda: up.state(training) == "Failed")
    due = datetime.fromisoformat(
        next(one for one in up.scheduled("guard") if not one["start_time"])["expected_start_time"]
    )
    assert eventually(lambda: datetime.now(UTC) > due)
    assert not up.printed().count("exited"), "servers and workers stay"

    disk.make_space()
    space_since = datetime.now(UTC)
    assert space_since > full_since
    assert eventually(lambda: is_completed_after(up, space_since))
    up.switch("guard", active=False)
    status = up.ramreel("status")
    assert (status["disk_error"], status["workers"]) == (None, 3)

    resumed = up.run("resume", {"run": run_id})
    assert eventually(lambda: up.state(resumed) in ("Completed", "Failed"))
    assert up.state(resumed) == "Completed"
    steps = [step for step, _ in histories(up.store, run_id)["time/iterations"]]
    assert steps == list(range(ROLLOUT, steps[-1] + 1, ROLLOUT)), "no gap, no step logged twice"
    assert steps[-1] >= STEPS
    assert valid_checkpoints(up.store, run_id, tmp_path)[0] == EVERY
    assert len(up.store.runs_with({"ramreel.kind": "training"})) == 1
    started = [run["expected_start_time"] for run in up.scheduled("guard") if run["start_time"]]
    assert len(started) == len(set(started)), "no guard is executed twice"
