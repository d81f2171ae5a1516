"""Runs that a user deletes in MLflow, or for good with `mlflow gc`, while they are trained, recorded or champion."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

import pytest
from click.testing import CliRunner
from helpers.approaches import FAST
from prefect import flow

from flows.guard import guard
from flows.record import RecordError, record
from flows.train import resume, train
from tasks.arcade.inputs.forms import RecordSettings, ResumeSettings, TrainSettings
from tasks.arcade.inputs.unattended import GuardSettings
from tasks.arcade.progress import Progress
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.champion import challenge
from tasks.execution.progress_sink import ProgressSink, use_sink
from tasks.store import ChampionRegistry, Store, StoreError
from tasks.store.connection import connect

GAME = "ALE/Breakout-v5"
TRAIN = TrainSettings(env_id=GAME, approach=FAST, seed=5, steps=4096, checkpoint_every=512, workers=1)
QUICK = RecordSettings(run="latest", evaluation=EvaluationSettings(episodes=1), video=VideoSettings(panel=False))
Delete = Callable[[Store, str], None]


def delete(store: Store, run_id: str) -> None:
    connect(store.address).delete_run(run_id)


def delete_for_good(store: Store, run_id: str) -> None:
    delete(store, run_id)
    with warnings.catch_warnings():
        # Raised by its import of other commands.
        warnings.simplefilter("ignore")
        from mlflow.cli import gc
    uri = store.address.uri
    done = CliRunner().invoke(gc, ["--tracking-uri", uri, "--backend-store-uri", uri, "--run-ids", run_id])
    assert done.exit_code == 0, done.output


DELETED = {
    delete: "is deleted: restore it in MLflow",
    delete_for_good: "is not in the store: it was deleted for good",
}


@pytest.fixture(params=DELETED, ids=lambda one: one.__name__)
def deletion(request: pytest.FixtureRequest) -> Delete:
    chosen: Delete = request.param
    return chosen


class Deleting(ProgressSink):
    """A progress sink that deletes the run once it has a checkpoint, or a checkpoint once it has a video."""

    def __init__(self, store: Store, deletion: Delete) -> None:
        self._store, self._deletion = store, deletion
        self.run_id = ""

    def update(self, name: str, progress: Progress) -> None:
        if not self.run_id and progress.step > 1024:
            self._delete()

    def log(self, line: str) -> None:
        if not self.run_id and ": recorded" in line:
            self._delete()

    def _delete(self) -> None:
        self.run_id = self._store.resolve_run("latest")
        self._deletion(self._store, self.run_id)


def test_training_ends_with_the_reason(store: Store, deletion: Delete) -> None:
    deleting = Deleting(store, deletion)
    with use_sink(deleting), pytest.raises(StoreError, match=re.escape(DELETED[deletion])) as error:
        train(TRAIN)
    assert "\n" not in str(error.value)
    artifacts = store.address.artifacts
    assert artifacts is not None
    files = [path for path in artifacts.rglob(f"{deleting.run_id}/**/*") if path.is_file()]
    assert bool(files) is (deletion is delete)
    if deletion is delete:
        connect(store.address).restore_run(deleting.run_id)
        resumed = resume(ResumeSettings(run=deleting.run_id))
        assert resumed.checkpoints[-1].digest == train(TRAIN).checkpoints[-1].digest


def test_recording_ends_with_the_reason(store: Store, deletion: Delete) -> None:
    run_id = train(TRAIN.model_copy(update={"steps": 1024})).run_id
    settings = QUICK.model_copy(update={"run": run_id})
    with use_sink(Deleting(store, deletion)), pytest.raises((RecordError, StoreError)) as error:
        record(settings)
    assert DELETED[deletion] in str(error.value)
    with pytest.raises(StoreError, match=re.escape(DELETED[deletion])):
        record(settings)


def test_champion_of_a_deleted_run(store: Store, deletion: Delete, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.runs.champion_evaluation.FRESH_EPISODES", 4)
    contest = flow(challenge.fn)
    first, second = (train(TRAIN.model_copy(update={"steps": 512, "seed": seed})).run_id for seed in (1, 2))
    record(QUICK.model_copy(update={"run": first}))
    assert contest(first).crowned
    deletion(store, first)
    champion = ChampionRegistry(store.address).champion(GAME)
    statuses = guard(GuardSettings(episodes=10))
    assert record(QUICK.model_copy(update={"run": second})).made == (512,)
    challenger = contest(second)
    if deletion is delete:
        # Its checkpoint and its history are still there, and the run can be restored.
        assert champion is not None
        assert [status.run_id for status in statuses] == [champion.run_id] == [first]
    else:
        assert (champion, statuses, challenger.crowned) == (None, (), True)
