"""Baselines are never crowned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from tasks.arcade.checkpoints.checkpoint import unlearned_checkpoint, write_checkpoint
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.run import RunSettings
from tasks.champion import challenge
from tasks.store import ChampionRegistry, Store


@pytest.mark.parametrize("baseline", ["random", "noop"])
def test_baseline_does_not_become_the_first_champion_of_its_game(
    baseline: str,
    store: Store,
    settings: RunSettings,
    evaluated_run: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address.uri)
    unlearned = settings.model_copy(update={"approach": approach(baseline)})
    run_id = evaluated_run(store, unlearned, {1000: [1.0, 2.0]})
    digest = write_checkpoint(unlearned_checkpoint(unlearned), tmp_path / "checkpoint")
    store.save_checkpoint(run_id, 1000, tmp_path / "checkpoint", digest)
    with disable_run_logger():
        status = challenge.fn(run_id)
    assert (status.crowned, status.version, status.step) == (False, None, 1000)
    assert status.summary == f"{baseline} seed 7 is a baseline, which cannot become the champion"
    assert ChampionRegistry(store.address).champion("ALE/Pong-v5") is None
