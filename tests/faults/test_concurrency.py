"""Several training runs and recordings at the same time over one embedded store: all finish, nothing is lost."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from helpers.approaches import FAST, settings_file
from helpers.evidence import histories, valid_checkpoints
from helpers.processes import Command, started
from helpers.scale import takes_minutes

from flows.train import train
from tasks.arcade.inputs.forms import TrainSettings
from tasks.runs.verify import verify_run
from tasks.store import Store, open_store

N_TRAININGS, N_RECORDINGS = 4, 2
pytestmark = takes_minutes
SMALL = TrainSettings(
    env_id="ALE/Breakout-v5", approach=FAST, seed=3, steps=25_600, checkpoint_every=1280, n_envs=1, workers=1
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, prefect_server: None) -> tuple[Store, str]:
    """The same training run in a store of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAMREEL_HOME", str(tmp_path_factory.mktemp("alone")))
        return open_store(), train(SMALL).run_id


def test_concurrent_commands_finish_and_lose_nothing(at_home: Path, alone: tuple[Store, str], tmp_path: Path) -> None:
    store = open_store()
    to_record = [str(train(SMALL.model_copy(update={"steps": 1280})).run_id) for _ in range(N_RECORDINGS)]
    train_arguments = [
        *("train", SMALL.env_id, "--settings", str(settings_file(tmp_path)), "--seed", str(SMALL.seed)),
        *("--n-envs", "1", "--workers", "1", "--steps", str(SMALL.steps), "--checkpoint-every", "1280", "--json"),
    ]
    with ExitStack() as stack:
        trainings = [stack.enter_context(started(train_arguments, at_home)) for _ in range(N_TRAININGS)]
        recordings = [
            stack.enter_context(started(["record", run_id, "--episodes", "2", "--plain", "--json"], at_home))
            for run_id in to_record
        ]
        trained = [result_of(command)["run_id"] for command in trainings]
        recorded = [result_of(command) for command in recordings]
    assert len(set(trained)) == N_TRAININGS
    expected = histories(*alone)
    for number, run_id in enumerate(trained):
        assert histories(store, run_id) == expected
        assert valid_checkpoints(store, run_id, tmp_path / str(number)) == list(range(1280, SMALL.steps + 1, 1280))
    for run_id, result in zip(to_record, recorded, strict=True):
        assert [video["step"] for video in result["videos"]] == [1280]
        assert [proof.ok for proof in verify_run(store, run_id)] == [True]
    with closing(sqlite3.connect(at_home / "mlruns/prefect.db")) as prefect:
        states = Counter(prefect.execute("SELECT state_type FROM flow_run UNION ALL SELECT state_type FROM task_run"))
        assert states.keys() == {("COMPLETED",)}
        flow_runs = prefect.execute("SELECT count(*) FROM flow_run").fetchone()
        assert flow_runs == (N_TRAININGS + N_RECORDINGS,)


def test_commands_that_start_at_the_same_time_in_a_new_home_all_succeed(home: Path) -> None:
    with ExitStack() as stack:
        commands = [stack.enter_context(started(["guard", "--json"], home)) for _ in range(6)]
        for command in commands:
            result_of(command)


def result_of(command: Command) -> dict[str, object]:
    code, out, errors = command.wait()
    assert code == 0, errors
    assert "locked" not in errors
    result = json.loads(out.splitlines()[-1])
    assert isinstance(result, dict)
    return result
