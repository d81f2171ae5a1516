"""Every flow test has its own home; all share one Prefect server."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.approaches import FAST

from tasks.arcade.inputs.forms import TrainSettings
from tasks.store import Store, open_store


@pytest.fixture(autouse=True)
def everything_at_home(at_home: Path) -> None:
    """Store everything in this test's home."""


@pytest.fixture
def store(at_home: Path) -> Store:
    return open_store()


@pytest.fixture
def small() -> TrainSettings:
    """A training run of a second with two checkpoints, on Breakout, whose episodes are short at first."""
    return TrainSettings(
        env_id="ALE/Breakout-v5", approach=FAST, seed=1, steps=1024, checkpoint_every=512, n_envs=2, workers=2
    )
