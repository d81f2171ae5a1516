"""An MLflow store on SQLite, migrated once per session and copied for each test; one Prefect server per session."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from helpers.inboxes import Webhook
from helpers.servers import Server, mlflow_server, running
from helpers.serving import serving

from flows.runtime.gc_tuning import raise_thresholds
from tasks.arcade.episodes.evaluation import EpisodeResult, Evaluation
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings
from tasks.store import Store, open_store
from tasks.store.address import find_address
from tasks.store.connection import configure_mlflow, connect

# Directories from the slowest tests to the fastest ones; what is not listed comes first.
_SLOWEST_FIRST = ("faults", "deployments", "flows", "tasks/services", "docs", "tasks/web", "tasks", "arcade")
PREFECT_SETTINGS = (
    "DO_NOT_TRACK",
    "PREFECT_SERVER_ANALYTICS_ENABLED",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS",
    "PREFECT_CLIENT_MAX_RETRIES",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES",
    "PREFECT_LOGGING_INTERNAL_LEVEL",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL",
)


def pytest_configure(config: pytest.Config) -> None:
    configure_mlflow()
    raise_thresholds()
    # Raised by MLflow with SQLAlchemy 2.1; harmless.
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
    # Raised by MLflow about its own code when `mlflow.pyfunc` is imported; the message starts with a color.
    config.addinivalue_line("filterwarnings", "ignore:.*Any type hint is inferred as AnyType:UserWarning")
    # Raised by Apprise on Python 3.11 and 3.12.
    config.addinivalue_line("filterwarnings", "ignore:'imghdr' is deprecated:DeprecationWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the slowest files first: at the end, no worker is left alone with one of them."""
    items.sort(key=lambda item: _rank(item.path.relative_to(Path(__file__).parent).as_posix()))


def _rank(file: str) -> int:
    matches = (index for index, folder in enumerate(_SLOWEST_FIRST, 1) if file.startswith(f"{folder}/"))
    return next(matches, 0)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database: creating one takes seconds, copying it does not."""
    database = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    connect(find_address(f"sqlite:///{database}"))
    return database


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Path:
    """A home with an empty store."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(migrated, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    return open_store(f"sqlite:///{home}/mlruns/mlflow.db")


@pytest.fixture(autouse=True)
def default_tracking_uri() -> Iterator[None]:
    """Unset the tracking URI that a test set: in later tests, MLflow would prefer it to `MLFLOW_TRACKING_URI`."""
    yield
    if mlflow := sys.modules.get("mlflow"):
        mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def tracking_server(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """MLflow's server, shared by the tests of a session: each uses runs and games of its own."""
    with running(mlflow_server(tmp_path_factory.mktemp("tracking") / "server", migrated)) as server:
        yield server


@pytest.fixture
def server_store(tracking_server: Server) -> Store:
    return open_store(tracking_server.address)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        # By default tests would wait five seconds for an event.
        patch.setenv("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL", "0.2")
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=180):
            yield


@pytest.fixture
def at_home(home: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Store everything that flows of this process store in this test's own home."""
    monkeypatch.setenv("RAMREEL_HOME", str(home))
    forget_settings(monkeypatch)
    return home


def forget_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what a command sets by default, and restore it after the test."""
    for name in ("MLFLOW_TRACKING_URI", *PREFECT_SETTINGS):
        monkeypatch.setenv(name, "kept")
        monkeypatch.delenv(name)


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with serving(Webhook()) as server:
        yield server


@pytest.fixture
def settings() -> RunSettings:
    return RunSettings(
        game=GameSettings(env_id="ALE/Pong-v5", rom="pong", frame_skip=4, repeat_action_probability=0.25),
        approach=ApproachSettings(
            name="ppo",
            description="Stable-Baselines3's defaults",
            algorithm=PpoSettings(learning_rate="lin_5e-4"),
            features=FeatureSettings(kind="scaled"),
        ),
        seed=7,
        steps=1000,
        checkpoint_every=500,
    )


def _start(store: Store, settings: RunSettings, name: str = "ppo-7") -> str:
    versions = {"torch": "2.13.0"}
    return store.start_run(settings, name=name, command="ramreel train ALE/Pong-v5", versions=versions, commit="abc123")


@pytest.fixture
def start() -> Callable[..., str]:
    """Start a run: (store, settings, name) -> run id."""
    return _start


@pytest.fixture
def run_id(store: Store, settings: RunSettings) -> str:
    return _start(store, settings)


def _evaluated_run(
    store: Store, settings: RunSettings, returns: Mapping[int, Sequence[float]], name: str | None = None
) -> str:
    run_id = _start(store, settings, name or f"{settings.approach.name} seed {settings.seed}")
    for step, of_step in returns.items():
        episodes = tuple(
            EpisodeResult(
                seed=number,
                episode_return=value,
                length=100,
                frames=400,
                ram_digest=f"{run_id}{step}{number}",
                ended="terminated",
                actions=(60, 40),
            )
            for number, value in enumerate(of_step)
        )
        evaluation_settings = EvaluationSettings(episodes=len(episodes))
        evaluation = Evaluation(
            checkpoint="d" * 64,
            step=step,
            settings=evaluation_settings,
            episodes=episodes,
            recorded=0,
            video_frames=401,
        )
        store.save_evaluation(run_id, evaluation)
        store.log_metrics(run_id, {"rollout/ep_rew_mean": float(of_step[0])}, step)
    store.finish_run(run_id, "FINISHED")
    return run_id


@pytest.fixture
def evaluated_run() -> Callable[..., str]:
    """Create an evaluated run without training: (store, settings, returns of the episodes by step, name) -> run id."""
    return _evaluated_run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    (folder / "deeper").mkdir(parents=True)
    (folder / "manifest.json").write_text('{"schema": 1}')
    (folder / "policy.safetensors").write_bytes(bytes(range(256)) * 100)
    (folder / "deeper" / "settings.json").write_text("{}")
    return folder


@pytest.fixture
def torn_checkpoint(checkpoint: Path) -> Path:
    """The same files, and one that cannot be read."""
    copy = checkpoint.with_name("torn")
    shutil.copytree(checkpoint, copy)
    (copy / "optimizer.safetensors").symlink_to("nowhere")
    return copy
