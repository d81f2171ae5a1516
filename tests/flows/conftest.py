"""Every flow's test has a home of its own, and shares one Prefect server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.arcade.inputs.forms import TrainSettings
from tasks.store import Store, open_store


@pytest.fixture(autouse=True)
def everything_at_home(at_home: Path) -> None:
    """Nothing of these tests goes anywhere else."""


@pytest.fixture
def store(at_home: Path) -> Store:
    return open_store()


@pytest.fixture
def small() -> TrainSettings:
    """A training of a moment: Breakout at random, whose episodes are short."""
    return TrainSettings(
        env_id="ALE/Breakout-v5", approach="random", seed=1, steps=1024, checkpoint_every=512, n_envs=2, workers=2
    )
