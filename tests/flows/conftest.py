"""One Prefect server a session, and a home of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.arcade.settings import TrainSettings
from tasks.store import Store, open_store

PREFECT_SETTINGS = (
    "DO_NOT_TRACK",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL",
)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=180):
            yield


@pytest.fixture(autouse=True)
def at_home(home: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that a flow stores goes to this test's own folder."""
    monkeypatch.setenv("RAMREEL_HOME", str(home))
    for name in ("MLFLOW_TRACKING_URI", *PREFECT_SETTINGS):
        # The command line sets what is not set; what it set is taken back after the test.
        monkeypatch.setenv(name, "kept")
        monkeypatch.delenv(name)
    return home


@pytest.fixture
def store(at_home: Path) -> Store:
    return open_store()


@pytest.fixture
def small() -> TrainSettings:
    """A training of a moment: Breakout at random, whose episodes are short."""
    return TrainSettings(
        env_id="ALE/Breakout-v5", approach="random", seed=1, steps=1024, checkpoint_every=512, n_envs=2, workers=2
    )
