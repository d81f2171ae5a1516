"""The requests to an MLflow server do not grow with the number of runs that a search passes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from helpers.proxy import Proxy, proxied
from helpers.servers import Server
from prefect import flow

from tasks.arcade.inputs.unattended import RetrainSettings
from tasks.arcade.settings.run import RunSettings
from tasks.follow_up import earlier_runs
from tasks.retrain import plan_retraining
from tasks.store import ChampionRegistry, Store, TrainedGame, open_store
from tasks.train import start_run

Start = Callable[..., str]
EvaluatedRun = Callable[..., str]


@pytest.fixture
def proxy(tracking_server: Server, at_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Use the server through a proxy; the first use of a server sends one request more than the next ones."""
    with proxied(tracking_server.address) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
        yield proxy


@pytest.fixture
def game(settings: RunSettings) -> RunSettings:
    """Settings of a game of this test's own."""
    env_id = f"ALE/Pong{uuid4().hex[:6]}-v5"
    return settings.model_copy(update={"game": settings.game.model_copy(update={"env_id": env_id})})


def test_run_of_a_restarted_flow_run_is_found(proxy: Proxy, game: RunSettings) -> None:
    @flow
    def start_again(n_runs: int) -> int:
        """Start runs as a pipeline does, and the first one again as after a crash; return its requests."""
        of_seeds = [game.model_copy(update={"seed": seed}) for seed in range(n_runs)]
        first, *_ = [start_run.fn(one, f"seed {one.seed}", None) for one in of_seeds]
        proxy.requests.clear()
        assert start_run.fn(of_seeds[0], "seed 0", None) == first
        return len(proxy.requests)

    before = start_again(1)
    assert start_again(5) <= before, proxy.requests


def test_earlier_runs_are_found(
    proxy: Proxy, server_store: Store, game: RunSettings, start: Start, evaluated_run: EvaluatedRun
) -> None:
    earlier = evaluated_run(server_store, game, {500: [1.0]})
    run_id = evaluated_run(server_store, game, {500: [2.0]})

    def requests() -> int:
        proxy.requests.clear()
        assert earlier_runs.fn(run_id, 10) == (earlier,)
        return len(proxy.requests)

    before = requests()
    start(server_store, game)
    server_store.set_tag(evaluated_run(server_store, game, {500: [3.0]}), "ramreel.trial", "0")
    assert requests() <= before, proxy.requests


def test_retraining_runs_are_counted(
    proxy: Proxy, server_store: Store, game: RunSettings, start: Start, checkpoint: Path
) -> None:
    env_id = game.game.env_id
    champion_run = start(server_store, game)
    server_store.save_checkpoint(champion_run, 500, checkpoint, "d" * 64)
    registry = ChampionRegistry(server_store.address)
    registry.set_champion(registry.register(env_id, server_store.list_checkpoints(champion_run)[0], "the champion"))

    def retrained() -> None:
        run_id = start(server_store, game)
        server_store.set_tag(run_id, "ramreel.retraining_of", env_id)
        server_store.set_tag(run_id, "ramreel.retraining_version", "1")

    def requests() -> int:
        proxy.requests.clear()
        plan = flow(plan_retraining.fn)(RetrainSettings(env_id=env_id, at_most=4))
        assert "cool-down ends" in plan.skip_reason
        return len(proxy.requests)

    retrained()
    before = requests()
    retrained()
    retrained()
    assert requests() <= before, proxy.requests
    retrained()
    plan = flow(plan_retraining.fn)(RetrainSettings(env_id=env_id, at_most=4))
    assert plan.skip_reason.startswith("4 retraining runs found no better champion")


def test_best_mean_return_in_an_experiment_of_several_games(
    proxy: Proxy, server_store: Store, game: RunSettings, checkpoint: Path
) -> None:
    experiment = uuid4().hex
    another = game.model_copy(update={"game": game.game.model_copy(update={"env_id": "ALE/Breakout-v5"})})
    run_id, other_id = (
        server_store.start_run(one, name="ppo", command="", versions={}, commit=None, experiment=experiment)
        for one in (game, another)
    )

    def evaluate(run_id: str, step: int, mean: float) -> None:
        model_id = server_store.save_checkpoint(run_id, step, checkpoint, "d" * 64)
        server_store.log_metrics(run_id, {"eval/mean_reward": mean}, step, model_id)

    def requests() -> int:
        proxy.requests.clear()
        registry = ChampionRegistry(open_store().address)
        assert registry.best_mean_return(run_id, excluded_step=500) == 3.0
        return len(proxy.requests)

    evaluate(run_id, 250, 3.0)
    evaluate(run_id, 500, 4.0)
    evaluate(other_id, 250, 100.0)
    before = requests()
    evaluate(other_id, 500, 101.0)
    evaluate(other_id, 750, 102.0)
    assert requests() <= before, proxy.requests


def test_run_of_version_0_1_is_found_by_its_settings(store: Store, game: RunSettings, start: Start) -> None:
    run_id = start(store, game)
    store.set_tag(run_id, "ramreel.root_flow_run_id", "root")
    store._client.delete_tag(run_id, "ramreel.settings_digest")
    other = game.model_copy(update={"seed": 8})
    assert store.find_run(game, {"ramreel.root_flow_run_id": "root"}) == run_id
    assert store.find_run(other, {"ramreel.root_flow_run_id": "root"}) is None
    store.resume_run(run_id, other)
    assert store.find_run(other, {"ramreel.root_flow_run_id": "root"}) == run_id
    assert store.find_run(game, {"ramreel.root_flow_run_id": "root"}) is None


def test_search_by_several_tags(store: Store, game: RunSettings, start: Start) -> None:
    plain, tagged, finished = (start(store, game) for _ in range(3))
    store.set_tag(tagged, "ramreel.trial", "0")
    store.finish_run(finished, "FINISHED")
    tags = {"ramreel.env_id": game.game.env_id}
    assert set(store.runs_with(tags)) == {plain, tagged, finished}
    assert store.runs_with({**tags, "ramreel.trial": "0"}) == (tagged,)
    assert set(store.runs_with({**tags, "ramreel.trial": None})) == {plain, finished}
    assert store.runs_with(tags, status="FINISHED") == (finished,)
    assert len(store.runs_with(tags, limit=2)) == 2
    assert store.runs_with(tags, experiment="another") == ()
    assert len(store.runs_with(tags, experiment=game.game.env_id)) == 3
    assert store.runs_with({"ramreel.env_id": "it's"}) == ()


def test_newest_training_runs_of_games_whose_ids_contain_a_text(
    store: Store, settings: RunSettings, start: Start
) -> None:
    def run_of(env_id: str, mean: float) -> None:
        run_id = start(store, settings.model_copy(update={"game": settings.game.model_copy(update={"env_id": env_id})}))
        store.log_metrics(run_id, {"eval/mean_reward": mean}, 500)

    run_of("ALE/Tennis-v5", 3.0)
    run_of("ALE/Tennis-v5", 2.0)
    run_of("ALE/Freeway-v5", 30.0)
    assert store.trained_games("tennis", 10) == {"ALE/Tennis-v5": TrainedGame(runs=2, best_mean_return=3.0)}
    assert store.trained_games("tennis", 1) == {"ALE/Tennis-v5": TrainedGame(runs=1, best_mean_return=2.0)}
    assert store.trained_games("", 10).keys() == {"ALE/Tennis-v5", "ALE/Freeway-v5"}
    assert store.trained_games("it's", 10) == {}
