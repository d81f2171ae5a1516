"""A moved or copied store uses the artifacts next to its own database, and never those of its former place."""

from __future__ import annotations

import shutil
import sqlite3
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from helpers import former_store
from helpers.disks import REASON, may_mount, small_tmpfs
from helpers.servers import Server, free_port, running

from tasks.arcade.settings.run import RunSettings
from tasks.store import Champion, ChampionRegistry, Store, StoredCheckpoint, StoreError, open_store
from tasks.store.connection import connect
from tasks.store.relocation import keep_locations_within

Start = Callable[..., str]
DIGEST = "d" * 64


def store_at(home: Path) -> Store:
    return open_store(f"sqlite:///{home}/mlruns/mlflow.db")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cells_with(database: Path, text: str) -> set[str]:
    """Return the columns of all tables that contain a text, as table.column."""
    found = set()
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                query = f'SELECT 1 FROM {table} WHERE instr(CAST("{column}" AS TEXT), ?) LIMIT 1'  # noqa: S608
                if connection.execute(query, (text,)).fetchone():
                    found.add(f"{table}.{column}")
    return found


@pytest.fixture
def crowned(store: Store, run_id: str, checkpoint: Path) -> Champion:
    """The champion of a store with an artifact of each kind."""
    model_id = store.save_checkpoint(run_id, 500, checkpoint, DIGEST, training=checkpoint)
    registry = ChampionRegistry(store.address)
    stored = StoredCheckpoint(run_id=run_id, step=500, model_id=model_id, digest=DIGEST)
    champion = registry.register("ALE/Pong-v5", stored, "first")
    registry.set_champion(champion)
    return champion


@pytest.fixture
def elsewhere(home: Path, crowned: Champion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the home is moved to: a folder with characters that a URI encodes."""
    return tmp_path_factory.mktemp("moved") / "new home é"


def test_moved_store_is_read_and_written_in_its_new_place(
    home: Path, elsewhere: Path, crowned: Champion, settings: RunSettings, start: Start, checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    store, into = store_at(elsewhere), tmp_path_factory.mktemp("fetched")
    assert store.run(crowned.run_id).settings == settings
    (stored,) = store.list_checkpoints(crowned.run_id)
    assert files_of(store.fetch_checkpoint(stored, into / "playing")) == files_of(checkpoint)
    assert files_of(store.fetch_training_state(stored, into / "training")) == files_of(checkpoint)
    assert ChampionRegistry(store.address).champion("ALE/Pong-v5") == crowned
    new = start(store, settings, "new")
    store.save_checkpoint(new, 500, checkpoint, DIGEST, training=checkpoint)
    assert not home.joinpath("mlruns").exists()
    assert store.artifact_uri(new).startswith((elsewhere / "mlruns/artifacts").as_uri())
    assert cells_with(elsewhere / "mlruns/mlflow.db", str(home)) == set()
    assert caplog.messages == [
        f"the store was moved or copied from {home}/mlruns to {elsewhere}/mlruns: artifact locations in its database "
        "were updated"
    ]


def test_copy_never_writes_into_its_original(
    home: Path, elsewhere: Path, crowned: Champion, checkpoint: Path, settings: RunSettings, start: Start
) -> None:
    shutil.copytree(home / "mlruns", elsewhere / "mlruns")
    original = files_of(home / "mlruns")
    store = store_at(elsewhere)
    store.save_checkpoint(crowned.run_id, 1000, checkpoint, DIGEST, training=checkpoint)
    store.log_text(start(store, settings, "new"), "text", "text.txt")
    assert files_of(home / "mlruns") == original
    assert [one.step for one in store.list_checkpoints(crowned.run_id)] == [500, 1000]


def test_store_that_is_moved_twice_and_back_loses_nothing(
    home: Path, elsewhere: Path, crowned: Champion, settings: RunSettings
) -> None:
    former = cells_with(home / "mlruns/mlflow.db", str(home))
    for place in (elsewhere, elsewhere / "mlruns-of" / "another", home):
        here = next(
            folder for folder in (home, elsewhere, elsewhere / "mlruns-of/another") if (folder / "mlruns").exists()
        )
        shutil.move(here / "mlruns", place / "mlruns")
        assert store_at(place).run(crowned.run_id).settings == settings
    assert cells_with(home / "mlruns/mlflow.db", str(home)) == former


def test_linked_store_keeps_its_locations(
    home: Path, elsewhere: Path, crowned: Champion, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere.symlink_to(home)
    before = (home / "mlruns/mlflow.db").read_bytes()
    assert store_at(elsewhere).run(crowned.run_id).settings is not None
    assert (home / "mlruns/mlflow.db").read_bytes() == before
    assert caplog.messages == []


def test_locations_outside_the_store_are_kept(
    home: Path, elsewhere: Path, crowned: Champion, tmp_path_factory: pytest.TempPathFactory, settings: RunSettings
) -> None:
    own = tmp_path_factory.mktemp("own") / "artifacts" / "7"
    connect(store_at(home).address).create_experiment("own", artifact_location=own.as_uri())
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    store = store_at(elsewhere)
    run_id = store.start_run(settings, name="a", command="c", versions={}, commit=None, experiment="own")
    assert store.artifact_uri(run_id).startswith(own.as_uri())
    assert list(own.rglob("settings.json"))


def test_renamed_experiments_and_those_of_mlflow_itself_are_moved(
    home: Path, elsewhere: Path, crowned: Champion, settings: RunSettings
) -> None:
    client = connect(store_at(home).address)
    experiment_id = client.create_experiment("of MLflow", artifact_location=f"{home}/mlruns/2")
    client.rename_experiment(client.get_run(crowned.run_id).info.experiment_id, "renamed")
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    store = store_at(elsewhere)
    assert store.run(crowned.run_id).settings == settings
    assert connect(store.address).get_experiment(experiment_id).artifact_location == f"{elsewhere}/mlruns/2"


def test_artifacts_of_a_server_of_the_users_own_are_kept(
    migrated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = tmp_path / "mlflow.db"
    shutil.copy(migrated, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = 'file:///shared/artifacts/0'")
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
            "VALUES (1, 'a', 'file:///shared/artifacts/1', 'active')"
        )
    client = connect(open_store(f"sqlite:///{database}").address)
    assert client.get_experiment("0").artifact_location == "file:///shared/artifacts/0"
    assert client.get_experiment("1").artifact_location == "file:///shared/artifacts/1"


def test_former_store_is_moved(home: Path, store: Store, elsewhere: Path, tmp_path: Path) -> None:
    former_store.unpack(home)
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    moved = store_at(elsewhere)
    run_id = moved.resolve_run("plain")
    assert [one.step for one in moved.fetch_evaluations(run_id)] == [256, 512]
    assert cells_with(elsewhere / "mlruns/mlflow.db", str(home)) == set()


def test_another_path_of_a_store_in_use_does_not_divert_its_artifacts(
    home: Path, elsewhere: Path, crowned: Champion, settings: RunSettings, start: Start
) -> None:
    """A container and its machine use one store by different paths: the last one that opened it is not the only one."""
    shutil.copytree(home / "mlruns", elsewhere / "mlruns")
    store = store_at(elsewhere)
    with closing(sqlite3.connect(elsewhere / "mlruns/mlflow.db")) as connection, connection:
        former, current = ((folder / "mlruns").as_uri() for folder in (home, elsewhere))
        connection.execute(
            "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)", (current, former)
        )
    original = files_of(home / "mlruns")
    run_id = start(store, settings, "new")
    assert files_of(home / "mlruns") == original
    assert store.artifact_uri(run_id).startswith((elsewhere / "mlruns").as_uri())


@pytest.mark.skipif(not may_mount(), reason="mounting is not permitted here")
def test_full_disk_leaves_a_moved_store_unchanged(
    home: Path, crowned: Champion, settings: RunSettings, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(home / "mlruns/mlflow.db")) as connection:
        # Otherwise the write-ahead log has room for the update.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with small_tmpfs(tmp_path / "small") as disk:
        shutil.copytree(home / "mlruns", disk.folder / "mlruns")
        disk.fill(0)
        with pytest.raises(StoreError, match=REASON) as error:
            store_at(disk.folder)
        assert "\n" not in str(error.value)
        disk.make_space()
        assert store_at(disk.folder).run(crowned.run_id).settings == settings
        assert cells_with(disk.folder / "mlruns/mlflow.db", f"{home}/mlruns") == set()


def test_store_that_is_moved_while_it_is_used_is_not_created_again(
    home: Path, elsewhere: Path, crowned: Champion, checkpoint: Path, store: Store
) -> None:
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    with pytest.raises(StoreError, match=r"mlflow.db is gone: .* moved or deleted while it was in use"):
        store.save_checkpoint(crowned.run_id, 1000, checkpoint, DIGEST, training=checkpoint)
    assert not (home / "mlruns").exists()


def test_concurrent_openings_of_a_moved_store_update_it_once(
    home: Path, elsewhere: Path, crowned: Champion, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    database = elsewhere / "mlruns/mlflow.db"
    with ThreadPoolExecutor() as pool:
        list(pool.map(keep_locations_within, [database] * 4))
    assert len(caplog.messages) == 1
    assert cells_with(database, str(home)) == set()


def test_mlflow_server_serves_the_artifacts_of_a_moved_store(home: Path, elsewhere: Path, crowned: Champion) -> None:
    shutil.move(home / "mlruns", elsewhere / "mlruns")
    port = free_port()
    command = store_at(elsewhere).server_command("127.0.0.1", port)
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(Server(command, elsewhere, f"http://127.0.0.1:{port}", "/health", environment)) as server:
        url = f"{server.address}/get-artifact?path=settings.json&run_uuid={crowned.run_id}"
        with urllib.request.urlopen(url, timeout=30) as response:
            assert b'"env_id": "ALE/Pong-v5"' in response.read()
