"""Champions in the embedded store, and on an MLflow server that proxies artifacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.proxy import proxied
from helpers.servers import Server

from tasks.arcade.settings.run import RunSettings
from tasks.store import ChampionRegistry, Store, StoredCheckpoint, open_store

Start = Callable[..., str]


@pytest.fixture
def stored(tracking_server: Server, settings: RunSettings, start: Start, checkpoint: Path) -> StoredCheckpoint:
    """Return a checkpoint on the tracking server."""
    store = open_store(tracking_server.address)
    run_id = start(store, settings)
    store.save_checkpoint(run_id, 500, checkpoint, "d" * 64)
    (stored,) = store.list_checkpoints(run_id)
    return stored


GAME = "ALE/Pong-v5"


@pytest.fixture(params=["embedded", "server"])
def any_store(request: pytest.FixtureRequest) -> Store:
    name = {"embedded": "store", "server": "server_store"}[request.param]
    store: Store = request.getfixturevalue(name)
    return store


@pytest.fixture
def save(any_store: Store, settings: RunSettings, start: Start, checkpoint: Path) -> Callable[[], StoredCheckpoint]:
    """Save a checkpoint of a new run."""

    def save() -> StoredCheckpoint:
        run_id = start(any_store, settings)
        any_store.save_checkpoint(run_id, 500, checkpoint, "d" * 64)
        return any_store.list_checkpoints(run_id)[0]

    return save


def test_champion_is_registered_and_replaced(any_store: Store, save: Callable[[], StoredCheckpoint]) -> None:
    registry = ChampionRegistry(any_store.address)
    for checkpoint in (save(), save()):
        contender = registry.register(GAME, checkpoint, "a contender")
        assert contender.checkpoint == checkpoint
        assert registry.register(GAME, checkpoint, "again") == contender, "it keeps its version"
        registry.set_champion(contender)
        champion = registry.champion(GAME)
        assert champion is not None
        assert champion.version == contender.version
        assert champion.checkpoint == checkpoint
        assert registry.has_checkpoint(champion)
    assert registry.champion("ALE/Breakout-v5") is None


def test_champion_registered_by_version_0_1_is_read_and_replaced(
    store: Store, settings: RunSettings, start: Start, checkpoint: Path
) -> None:
    run_id = start(store, settings)
    store.save_checkpoint(run_id, 500, checkpoint, "d" * 64)
    (stored,) = store.list_checkpoints(run_id)
    client = store._client
    client.create_registered_model("ALE-Pong-v5", tags={"ramreel.env_id": GAME})
    # Version 0.1 named no logged model.
    version = client.create_model_version(
        "ALE-Pong-v5",
        source=client.get_logged_model(stored.model_id).artifact_location,
        run_id=run_id,
        tags={"ramreel.step": "500", "ramreel.digest": "d" * 64, "ramreel.model_id": stored.model_id},
    )
    client.set_registered_model_alias("ALE-Pong-v5", "champion", version.version)
    registry = ChampionRegistry(store.address)
    champion = registry.champion(GAME)
    assert champion is not None
    assert (champion.checkpoint, registry.champions()) == (stored, (champion,))
    assert registry.register(GAME, stored, "again") == champion


def test_champion_of_a_game_is_found_without_reading_those_of_other_games(
    tracking_server: Server, stored: StoredCheckpoint
) -> None:
    registry = ChampionRegistry(open_store(tracking_server.address).address)
    for game in ("ALE/Asterix-v5", "ALE/Qbert-v5", "ALE/Boxing-v5"):
        registry.set_champion(registry.register(game, stored, "a contender"))
    with proxied(tracking_server.address) as proxy:
        found = ChampionRegistry(open_store(proxy.address).address)
        proxy.requests.clear()
        champion = found.champion("ALE/Qbert-v5")
        assert champion is not None
        assert (champion.env_id, champion.checkpoint) == ("ALE/Qbert-v5", stored)
        assert len(proxy.requests) == 3, proxy.requests
        found.register("ALE/Qbert-v5", stored, "again")
        assert len(proxy.requests) == 4, proxy.requests


def test_champions_are_read_without_a_request_for_each(tracking_server: Server, stored: StoredCheckpoint) -> None:
    registry = ChampionRegistry(open_store(tracking_server.address).address)
    registry.set_champion(registry.register(GAME, stored, "a contender"))
    with proxied(tracking_server.address) as proxy:
        found = ChampionRegistry(open_store(proxy.address).address)

        def requests() -> int:
            proxy.requests.clear()
            assert stored in {champion.checkpoint for champion in found.champions()}
            return len(proxy.requests)

        before = requests()
        for game in ("ALE/Skiing-v5", "ALE/Tennis-v5"):
            registry.set_champion(registry.register(game, stored, "a contender"))
        assert requests() <= before, proxy.requests
