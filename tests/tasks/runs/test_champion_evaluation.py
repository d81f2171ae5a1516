"""The checkpoint of a training run that challenges the champion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.arcade.settings.run import RunSettings
from tasks.runs.champion_evaluation import best_checkpoint_of
from tasks.store import Store, StoreError


def test_best_stored_checkpoint_challenges(
    store: Store, settings: RunSettings, evaluated_run: Callable[..., str], checkpoint: Path
) -> None:
    run_id = evaluated_run(store, settings, {500: [1, 2], 1000: [8, 9], 1500: [4, 5]})
    with pytest.raises(StoreError, match=r"no checkpoint of run [0-9a-f]+ is evaluated"):
        best_checkpoint_of(store, run_id)
    model_ids = {step: store.save_checkpoint(run_id, step, checkpoint, f"digest {step}") for step in (500, 1000, 1500)}
    store.save_checkpoint(run_id, 2000, checkpoint, "not evaluated")
    assert best_checkpoint_of(store, run_id).step == 1000
    store._client.delete_logged_model(model_ids[1000])
    assert best_checkpoint_of(store, run_id).step == 1500, "the best one was deleted"
