"""The cool-down between two retraining runs ends, whatever the clocks of the machines that trained."""

from __future__ import annotations

import time

import pytest

from tasks.arcade.inputs.unattended import RetrainSettings
from tasks.retrain import _skip_reason
from tasks.store import Champion, Store, StoredCheckpoint
from tasks.store.connection import connect

GAME = "ALE/Breakout-v5"
CHECKPOINT = StoredCheckpoint(run_id="a" * 32, step=1, model_id="m", digest="d")
CHAMPION = Champion(env_id=GAME, version=1, checkpoint=CHECKPOINT, description="", tags={})
HOUR = 3600


@pytest.mark.parametrize(
    ("started", "reason"),
    [
        ([-48 * HOUR], ""),
        ([-HOUR], "the cool-down ends at"),
        ([365 * 24 * HOUR], ""),
        ([365 * 24 * HOUR, -HOUR], "the cool-down ends at"),
    ],
    ids=["two days ago", "an hour ago", "next year", "next year and an hour ago"],
)
def test_run_that_starts_in_the_future_does_not_extend_the_cool_down(
    started: list[int], reason: str, store: Store, run_id: str
) -> None:
    client, now = connect(store.address), int(time.time())
    experiment = client.get_run(run_id).info.experiment_id
    earlier = [
        client.create_run(experiment, start_time=(now + seconds) * 1000).info.run_id
        for seconds in sorted(started, reverse=True)
    ]
    found = _skip_reason(store, RetrainSettings(env_id=GAME), CHAMPION, earlier)
    assert bool(found) == bool(reason)
    if reason:
        assert f"{reason} {time.strftime('%Y-%m-%d', time.localtime(now + 23 * HOUR))}" in found
