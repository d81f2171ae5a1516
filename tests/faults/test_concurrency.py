"""Trainings and recordings at once over one embedded store: all finish, nothing is lost, no database is locked."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from helpers.evidence import histories, whole_checkpoints
from helpers.processes import Command, started
from helpers.scale import takes_minutes

from flows.train import train
from tasks.arcade.inputs.forms import TrainSettings
from tasks.runs.verify import verify_run
from tasks.store import Store, open_store

TRAININGS, RECORDINGS = 4, 2
pytestmark = takes_minutes
SMALL = TrainSettings(
    env_id="ALE/Breakout-v5", approach="random", seed=3, steps=25_600, checkpoint_every=1280, n_envs=1,
    workers=1,
)  # fmt: skip
TRAIN = [
    *("train", SMALL.env_id, "--approach", SMALL.approach, "--seed", str(SMALL.seed), "--n-envs", "1"),
    *("--workers", "1", "--steps", str(SMALL.steps), "--checkpoint-every", "1280", "--json"),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Store, str]:
    """The same training, with the store for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(tmp_path_factory.mktemp("alone")))
        return open_store(), train(SMALL).run_id


def test_all_finish_and_nothing_is_lost(at_home: Path, alone: tuple[Store, str], tmp_path: Path) -> None:
    store = open_store()
    due = [str(train(SMALL.model_copy(update={"steps": 1280})).run_id) for _ in range(RECORDINGS)]
    with ExitStack() as stack:
        trainings = [stack.enter_context(started(TRAIN, at_home)) for _ in range(TRAININGS)]
        record = [["record", run_id, "--episodes", "2", "--plain", "--json"] for run_id in due]
        recordings = [stack.enter_context(started(words, at_home)) for words in record]
        trained = [finished(command)["run_id"] for command in trainings]
        recorded = [finished(command) for command in recordings]
    assert len(set(trained)) == TRAININGS
    wanted = histories(*alone)
    for number, run_id in enumerate(trained):
        assert histories(store, run_id) == wanted
        assert whole_checkpoints(store, run_id, tmp_path / str(number)) == list(range(1280, SMALL.steps + 1, 1280))
    for run_id, made in zip(due, recorded, strict=True):
        assert [video["step"] for video in made["videos"]] == [1280]
        assert [proof.ok for proof in verify_run(store, run_id)] == [True]
    with closing(sqlite3.connect(at_home / "mlruns/prefect.db")) as prefect:
        states = Counter(prefect.execute("SELECT state_type FROM flow_run UNION ALL SELECT state_type FROM task_run"))
        assert states.keys() == {("COMPLETED",)}
        flows = prefect.execute("SELECT count(*) FROM flow_run").fetchone()
        assert flows == (TRAININGS + RECORDINGS,)


def finished(command: Command) -> dict[str, object]:
    code, out, said = command.done()
    assert code == 0, said
    assert "locked" not in said
    values = json.loads(out.splitlines()[-1])
    assert isinstance(values, dict)
    return values
