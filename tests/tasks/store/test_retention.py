"""A retention deletes what is old and nothing refers to; champions, reports and runs started by hand stay."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from mlflow.entities import ViewType

from tasks.arcade.inputs.unattended import PruneSettings
from tasks.store import (
    AUTOMATIC_TAG,
    PRUNED_VIDEOS,
    ChampionRegistry,
    Store,
    open_store,
    plan_pruning,
    prune,
    pruned_steps,
)
from tasks.store.connection import connect
from tasks.store.retention import KEEP_TAG

GAME = "ALE/Pong-v5"
DAY_MS = 24 * 3600 * 1000
STEPS = (100, 200, 300)


class History:
    """Runs of a store that ended some days ago."""

    def __init__(self, store: Store, files: Path) -> None:
        self.store, self.files = store, files
        self.client = connect(store.address)

    def training(self, days: float, *, automatic: bool = True, best: int = 200, **tags: str) -> str:
        tags |= {"ramreel.kind": "training", "ramreel.env_id": GAME}
        run_id = self._run(days, automatic, tags)
        for step in STEPS:
            self.store.save_checkpoint(run_id, step, self.files, "d" * 64, training=self.files)
            self.store.save_video(run_id, step, self.files / "policy.safetensors", self.files / "manifest.json")
            self.client.log_metric(run_id, "eval/mean_reward", float(step == best), step=step)
        return self._ended(run_id, days)

    def comparison(self, days: float, *runs: str) -> str:
        run_id = self._run(days, True, {"ramreel.kind": "comparison", "ramreel.runs": " ".join(runs)})
        self.store.log_report(run_id, "<p>", "report")
        return self._ended(run_id, days)

    def _run(self, days: float, automatic: bool, tags: dict[str, str]) -> str:
        found = self.client.get_experiment_by_name(GAME)
        artifacts = self.store.address.artifacts
        assert artifacts
        location = (artifacts / "ALE-Pong-v5").as_uri()
        experiment = found.experiment_id if found else self.client.create_experiment(GAME, location)
        tags |= {AUTOMATIC_TAG: "schedule"} if automatic else {}
        return str(self.client.create_run(experiment, start_time=ago(days), tags=tags).info.run_id)

    def _ended(self, run_id: str, days: float) -> str:
        self.client.set_terminated(run_id, "FINISHED", end_time=ago(days))
        return run_id

    def crown(self, run_id: str, step: int) -> None:
        checkpoint = next(one for one in self.store.list_checkpoints(run_id) if one.step == step)
        registry = ChampionRegistry(self.store.address)
        registry.set_champion(registry.register(GAME, checkpoint, "best"))

    def states(self, run_id: str) -> list[str]:
        return sorted(Path(file.path).name for file in self.client.list_artifacts(run_id, "checkpoints"))

    def ids(self, view: int = ViewType.ALL) -> set[str]:
        experiment = self.client.get_experiment_by_name(GAME)
        return {run.info.run_id for run in self.client.search_runs([experiment.experiment_id], "", view)}


def ago(days: float) -> int:
    return int(time.time() * 1000 - days * DAY_MS)


@pytest.fixture
def history(store: Store, checkpoint: Path) -> History:
    return History(store, checkpoint)


def planned(store: Store, **settings: object) -> set[str]:
    return {run.run_id for run in plan_pruning(store, PruneSettings.model_validate(settings)).runs}


def test_fresh_store_has_nothing_to_prune(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert plan_pruning(store, PruneSettings()).size == 0
    assert list(tmp_path.iterdir()) == []


def test_old_runs_go_and_what_is_referred_to_stays(store: Store, history: History) -> None:
    champion, reported, old = history.training(200), history.training(100), history.training(95)
    by_hand, kept = history.training(300, automatic=False), history.training(300, **{KEEP_TAG: ""})
    young = history.training(80)
    old_report, report = history.comparison(94, old, champion), history.comparison(5, reported, young)
    history.crown(champion, 100)
    history.crown(old, 300)
    history.crown(champion, 100)
    plan = plan_pruning(store, PruneSettings())
    assert {run.run_id for run in plan.runs} == {old, old_report}
    assert plan.manual == 1
    assert planned(store, manual=True) == {old, old_report, by_hand}
    folders = [Path(store.artifact_uri(one).removeprefix("file://")).parent for one in (old, old_report)]
    models = [Path(store._client.get_logged_model(one.model_id).artifact_location.removeprefix("file://")).parent
              for one in store.list_checkpoints(old)]  # fmt: skip
    size = sum(file.stat().st_size for folder in (*folders, *models) for file in folder.rglob("*") if file.is_file())
    assert sum(run.size for run in plan.runs) == size

    prune(store, plan)
    assert history.ids() == {champion, reported, by_hand, kept, young, report}
    assert not any(folder.exists() for folder in (*folders, *models))
    crowned = ChampionRegistry(store.address).champion(GAME)
    assert crowned is not None
    assert ChampionRegistry(store.address).has_checkpoint(crowned)
    assert plan_pruning(store, PruneSettings()).runs == ()


def test_runs_keep_files_of_last_best_and_champion(store: Store, history: History) -> None:
    run_id, reported, young = history.training(40), history.training(40), history.training(3)
    history.comparison(35, reported)
    plan = plan_pruning(store, PruneSettings())
    assert [(one.run_id, one.steps) for one in plan.videos] == [(run_id, (100,))]
    assert {one.run_id: one.steps for one in plan.training_states} == {run_id: (100,), reported: (100,)}
    prune(store, plan)
    assert history.states(run_id) == history.states(reported) == ["step-000000200", "step-000000300"]
    assert len(history.states(young)) == 3
    assert list(store.videos(run_id)) == [200, 300]
    assert len(store.videos(reported)) == 3
    assert tuple(pruned_steps(store._client.get_run(run_id).data.tags, PRUNED_VIDEOS)) == (100,)
    traces = [file.path for file in history.client.list_artifacts(run_id, "videos") if file.path.endswith(".json")]
    assert len(traces) == 3, "from which the videos are rendered again"
    assert plan_pruning(store, PruneSettings()).size == 0

    # As after a kill between the tag and the deletion.
    store.save_video(run_id, 100, history.files / "policy.safetensors", history.files / "manifest.json")
    assert [one.steps for one in plan_pruning(store, PruneSettings()).videos] == [(100,)]
    history.crown(young, 100)
    assert plan_pruning(store, PruneSettings(states_days=1)).training_states == ()


def test_number_and_size_delete_the_oldest_runs(store: Store, history: History) -> None:
    oldest, middle, newest = history.training(3), history.training(2), history.training(1.5)
    today = history.training(0)
    assert planned(store) == set()
    assert planned(store, max_runs=2) == {oldest, middle}
    assert planned(store, max_runs=4) == set()
    size = next(run.size for run in plan_pruning(store, PruneSettings(max_runs=3)).runs)
    assert planned(store, max_gb=3.5 * size / 10**9) == {oldest}
    assert planned(store, max_gb=2 * size / 10**9) == {oldest, middle}
    assert planned(store, max_gb=1 / 10**9) == {oldest, middle, newest}, "none of the last day"
    history.comparison(0, oldest)
    assert planned(store, max_gb=1 / 10**9) == {middle, newest}
    assert today in history.ids()


def test_deleted_runs_are_deleted_for_good_after_a_time(store: Store, history: History) -> None:
    deleted, reported = history.training(50, automatic=False), history.training(50)
    history.comparison(1, reported)
    for run_id in (deleted, reported):
        history.client.delete_run(run_id)
    assert plan_pruning(store, PruneSettings()).deleted_runs == ()
    # As if they had been deleted a month ago.
    with sqlite3.connect(str(store.address.database)) as connection:
        connection.execute("UPDATE runs SET deleted_time = ?", (ago(31),))
    connection.close()
    plan = plan_pruning(store, PruneSettings())
    assert [run.run_id for run in plan.deleted_runs] == [deleted]
    prune(store, plan)
    assert deleted not in history.ids()
    assert reported in history.ids()
