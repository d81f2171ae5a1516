"""Several processes share a study: none ends another's trial, and only abandoned trials are repeated."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy
from helpers.postgresql import postgresql_server
from helpers.processes import ROOT

from tasks.arcade import process_identity
from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.tuning.search_space import SweepError
from tasks.arcade.tuning.storage import StudyDatabaseError
from tasks.arcade.tuning.study import open_study

SETTINGS = SweepSettings(env_id="ALE/Pong-v5", approach="ppo", parameters=("gamma", "n_steps"), trials=4, steps=1000)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with postgresql_server() as uri:
        yield uri


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The database of studies; each test has studies of its own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/optuna.db"
    return str(request.getfixturevalue("postgresql"))


@pytest.fixture
def settings() -> SweepSettings:
    return SETTINGS.model_copy(update={"name": uuid4().hex})


def test_running_trial_of_another_process_is_not_failed(uri: str, settings: SweepSettings) -> None:
    with open_study(uri, settings) as one, open_study(uri, settings) as other:
        first, second = one.ask(), other.ask()
        assert first and second and first.number != second.number
        one.tell(1000, 1.0)
        other.tell(1000, 2.0)
        assert [(row.number, row.value) for row in one.rows()] == [(second.number, 2.0), (first.number, 1.0)]


ASKING = """
import sys
from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.tuning.study import open_study

with open_study(sys.argv[1], SweepSettings.model_validate_json(sys.argv[2])) as study:
    print(study.ask().model_dump_json(), flush=True)
    sys.stdin.read()
"""


def test_trial_of_a_killed_process_is_repeated_at_once(uri: str, settings: SweepSettings) -> None:
    command = [sys.executable, "-c", ASKING, uri, settings.model_dump_json()]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        proposed = process.stdout.readline()
        process.kill()
    with open_study(uri, settings) as study:
        again = study.ask()
        assert again is not None
        assert f'"number":{again.number}' not in proposed
        assert again.model_dump_json(include={"params"})[1:-1] in proposed


def test_trial_of_another_machine_is_repeated_when_its_heartbeats_stop(
    uri: str, settings: SweepSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_study(uri, settings) as study, ExitStack() as machine:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(process_identity.socket, "gethostname", lambda: "elsewhere")
            late = machine.enter_context(open_study(uri, settings))
            lost = late.ask()
        kept = study.ask()
        assert lost and kept
        study.tell(1000, 1.0)

        engine = sqlalchemy.create_engine(uri)
        schema = "optuna" if engine.dialect.name == "postgresql" else None
        heartbeats = sqlalchemy.table("trial_heartbeats", sqlalchemy.column("heartbeat"), schema=schema)
        with engine.begin() as connection:
            connection.execute(sqlalchemy.update(heartbeats).values(heartbeat="2020-01-01"))
        engine.dispose()

        again = study.ask()
        assert again is not None
        assert again.params == lost.params
        with pytest.raises(SweepError, match=f"trial {lost.number} of .* is repeated by another process"):
            late.should_prune(500, 1.0)
        with pytest.raises(SweepError, match="could not reach the study for more than 60 s"):
            late.tell(1000, 1.0)
        late.tell_failed()
        study.tell(1000, 1.0)
        assert {row.number: row.state for row in study.rows()} == {
            lost.number: "failed",
            kept.number: "complete",
            again.number: "complete",
        }


@pytest.mark.parametrize("released", [False, True])
def test_last_trial_is_waited_for_and_trained_once(uri: str, settings: SweepSettings, released: bool) -> None:
    one_trial = settings.model_copy(update={"trials": 1})
    asked = threading.Event()
    proposed = []

    def ask() -> None:
        with open_study(uri, one_trial) as other:
            asked.set()
            if trial := other.ask():
                proposed.append(trial.params)
                other.tell(1000, 1.0)

    waiting = threading.Thread(target=ask)
    with open_study(uri, one_trial) as study:
        trial = study.ask()
        waiting.start()
        asked.wait()
        if not released:
            study.tell(1000, 1.0)
    waiting.join()
    assert trial is not None
    assert proposed == ([trial.params] if released else [])


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("postgresql+psycopg2://me:secret@127.0.0.1:1/none", "failed: Connection refused"),
        ("mysql+pymysql://me:secret@127.0.0.1/none", "cannot be kept in mysql: use PostgreSQL or SQLite"),
        ("nonsense", "Could not parse SQLAlchemy URL"),
        ("sqlite:////proc/none/optuna.db", "No such file or directory"),
    ],
)
def test_unusable_database_is_one_line_without_the_password(uri: str, reason: str) -> None:
    with pytest.raises(StudyDatabaseError, match=reason) as raised, open_study(uri, SETTINGS):
        pass
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_mlflows_own_file_is_refused(home: Path) -> None:
    database = home / "mlruns/mlflow.db"
    with (
        pytest.raises(StudyDatabaseError, match="is MLflow's database: keep the sweep's study in a file of its own"),
        open_study(f"sqlite:///{database}", SETTINGS),
    ):
        pass
