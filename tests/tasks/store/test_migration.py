"""A store of an older version is migrated beside a kept copy; one of a newer version is refused in a line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import alembic.command
import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base

from tasks.store import StoreError, open_store
from tasks.store.migration import Package, _revisions, is_older, keep_copy_of_older


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow as the version before its last migration left it, with a run."""
    database = tmp_path_factory.mktemp("older") / "mlflow.db"
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    config: Config = _get_alembic_config(str(engine.url))
    (head,) = _revisions("mlflow")[1]
    former = ScriptDirectory.from_config(config).get_revision(head).down_revision
    alembic.command.upgrade(config, str(former))
    engine.dispose()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
                           "VALUES (0, 'Default', 'file:///nowhere/artifacts/0', 'active')")  # fmt: skip
    return database


@pytest.fixture
def home_of_older(older: Path, tmp_path: Path) -> Path:
    (tmp_path / "older").mkdir()
    copy = tmp_path / "older/mlflow.db"
    copy.write_bytes(older.read_bytes())
    return copy


def set_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.parametrize("package", ["mlflow", "prefect"])
def test_revisions_are_those_of_alembic(package: Package) -> None:
    known, heads = _revisions(package)
    assert len(known) > 20
    assert len(heads) == 1


def test_older_store_is_migrated_and_a_copy_is_kept(home_of_older: Path, caplog: pytest.LogCaptureFixture) -> None:
    former = revision(home_of_older)
    store = open_store(f"sqlite:///{home_of_older}")
    assert store.runs_with({}) == ()
    assert not is_older(home_of_older, "mlflow")
    (copy,) = home_of_older.parent.glob("*.before-*")
    assert copy.name == f"mlflow.db.before-{former}"
    assert (revision(copy), is_older(copy, "mlflow")) == (former, True)
    assert f"is migrated to this version; a copy is kept: {copy.name}" in caplog.text
    with closing(sqlite3.connect(home_of_older)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_older_store_in_use_is_left_as_it_is(home_of_older: Path) -> None:
    before = revision(home_of_older)
    with closing(sqlite3.connect(home_of_older)) as other:
        other.execute("SELECT * FROM experiments").fetchall()
        with pytest.raises(StoreError, match=r"another process uses it .*: stop `ramreel up`"):
            open_store(f"sqlite:///{home_of_older}")
    assert revision(home_of_older) == before


def test_newer_store_is_refused(migrated: Path, tmp_path: Path) -> None:
    newer = tmp_path / "mlflow.db"
    newer.write_bytes(migrated.read_bytes())
    set_revision(newer, "ffff00000000")
    with pytest.raises(StoreError, match=r"written by a newer version of mlflow \(schema ffff00000000\): upgrade ram"):
        open_store(f"sqlite:///{newer}")


def test_prefect_database_is_copied_before_its_server_migrates_it(tmp_path: Path) -> None:
    database = tmp_path / "prefect.db"
    keep_copy_of_older(database, "prefect")
    known, heads = _revisions("prefect")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", tuple(heads))
    keep_copy_of_older(database, "prefect")
    assert [path.name for path in tmp_path.iterdir()] == ["prefect.db"]
    former = min(known - heads)
    set_revision(database, former)
    keep_copy_of_older(database, "prefect")
    assert revision(tmp_path / f"prefect.db.before-{former}") == former
    set_revision(database, "ffff00000000")
    with pytest.raises(StoreError, match=r"written by a newer version of prefect"):
        keep_copy_of_older(database, "prefect")
