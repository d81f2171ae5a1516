"""Summaries of runs, on SQLite and on MLflow's server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.arcade.settings.run import RunSettings
from tasks.store import (
    ChampionRegistry,
    Evaluated,
    Store,
    StoreError,
    evaluation_curve,
    open_store,
    pages_of_summaries,
    run_summaries,
    summaries_of_game,
    summaries_of_running,
    summaries_since,
    summary_of,
)

GAME = "ALE/Skiing-v5"
Start = Callable[..., str]


@pytest.fixture
def skiing(settings: RunSettings) -> RunSettings:
    """Settings of a game of this module: the server is shared."""
    return settings.model_copy(update={"game": settings.game.model_copy(update={"env_id": GAME, "rom": "skiing"})})


@pytest.fixture(params=["file", "server"])
def any_store(request: pytest.FixtureRequest) -> Store:
    name = {"file": "store", "server": "server_store"}[request.param]
    found = request.getfixturevalue(name)
    assert isinstance(found, Store)
    return found


def test_summary_has_the_latest_evaluation_with_its_own_interval(
    any_store: Store, skiing: RunSettings, start: Start
) -> None:
    run_id = start(any_store, skiing)
    with any_store.lease(run_id):
        any_store.log_metrics(run_id, {"rollout/ep_rew_mean": -7.0, "eval/mean_reward": 1.0}, 500)
        any_store.log_metrics(run_id, {"eval/mean_reward_low": 0.5, "eval/mean_reward_high": 1.5}, 500)
        (run,) = [one for one in summaries_of_game(any_store, GAME, 10) if one.run_id == run_id]
        assert run.evaluated == Evaluated(step=500, mean=1.0, low=0.5, high=1.5)
        assert (run.approach, run.seed, run.steps, run.step, run.rom) == ("ppo", 7, 1000, 500, "skiing")
        assert (run.state, run.training_return) == ("running", -7.0)
        assert run_id in {one.run_id for one in summaries_of_running(any_store)}

        any_store.log_metrics(run_id, {"eval/mean_reward": 2.0}, 1000)
        run = summary_of(any_store, run_id) or pytest.fail("is in the store")
        assert run.evaluated == Evaluated(step=1000, mean=2.0)
        assert [one.step for one in evaluation_curve(any_store, run_id)] == [500, 1000]

    # Nobody holds its lease: its process was killed.
    assert (summary_of(any_store, run_id) or pytest.fail("is in the store")).state == "interrupted"
    any_store.finish_run(run_id, "FINISHED")
    found = summary_of(any_store, run_id) or pytest.fail("is in the store")
    assert found.state == "finished"
    assert run_id in {one.run_id for one in summaries_since(any_store, found.end_ms or 0)}
    assert run_id not in {one.run_id for one in summaries_since(any_store, (found.end_ms or 0) + 1)}
    assert summary_of(any_store, "0" * 32) is None


def test_runs_of_all_games_come_page_by_page_without_deleted_ones(
    store: Store, settings: RunSettings, skiing: RunSettings, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_summaries, "_PAGE", 2)
    kept = [start(store, one, str(number)) for number in range(2) for one in (settings, skiing)]
    store._client.delete_run(start(store, settings, "deleted"))
    assert [[run.run_id for run in page] for page in pages_of_summaries(store)] == [kept[:1:-1], kept[1::-1]]


def test_fresh_store_has_no_runs_and_is_not_created(tmp_path: Path) -> None:
    fresh = open_store(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    assert list(pages_of_summaries(fresh)) == []
    assert summaries_of_game(fresh, GAME, 1) == summaries_of_running(fresh) == summaries_since(fresh, 0) == ()
    assert ChampionRegistry(fresh.address).checkpoints() == {}
    assert not (tmp_path / "mlruns").exists()


def test_artifacts_are_served_in_place_or_downloaded(
    store: Store, server_store: Store, settings: RunSettings, skiing: RunSettings, start: Start, tmp_path: Path
) -> None:
    run_id = start(store, settings)
    store.log_text(run_id, "here", "reports/a.txt")
    file = store.artifact_file(run_id, "reports/a.txt", tmp_path / "into")
    assert file.read_text() == "here"
    assert not (tmp_path / "into").exists()
    assert store.files_in(run_id, "reports") == ("reports/a.txt",)
    assert store.files_in(run_id, "nothing") == ()

    remote = start(server_store, skiing)
    server_store.log_text(remote, "there", "reports/a.txt")
    file = server_store.artifact_file(remote, "reports/a.txt", tmp_path / "into")
    assert (file.read_text(), file.is_relative_to(tmp_path / "into")) == ("there", True)

    (tmp_path / "secret").write_text("secret")
    folder = store.artifact_file(run_id, "reports", tmp_path)
    (folder / "link").symlink_to(tmp_path / "secret")
    for path in ("reports/link", "../secret", "/etc/passwd", "reports/../../x"):
        with pytest.raises(StoreError):
            store.artifact_file(run_id, path, tmp_path / "into")


def test_champions_are_found_in_two_searches(
    any_store: Store, skiing: RunSettings, start: Start, checkpoint: Path
) -> None:
    registry = ChampionRegistry(any_store.address)
    run_id = start(any_store, skiing)
    any_store.save_checkpoint(run_id, 500, checkpoint, "a" * 64)
    (stored,) = any_store.list_checkpoints(run_id)
    contender = registry.register(GAME, stored, "first")
    assert registry.checkpoints().get(GAME) != stored
    registry.set_champion(contender)
    assert registry.checkpoints()[GAME] == stored
