"""Which checkpoint of a training challenges the champion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.arcade.settings.run import RunSettings
from tasks.champion import _best
from tasks.store import Store, StoreError


def test_the_best_checkpoint_that_is_kept_challenges(
    store: Store, settings: RunSettings, judged: Callable[..., str], checkpoint: Path
) -> None:
    run_id = judged(store, settings, {500: [1, 2], 1000: [8, 9], 1500: [4, 5]})
    with pytest.raises(StoreError, match=r"no checkpoint of run [0-9a-f]+ is evaluated"):
        _best(store, run_id)
    model_ids = {step: store.save_checkpoint(run_id, step, checkpoint, f"digest {step}") for step in (500, 1000, 1500)}
    store.save_checkpoint(run_id, 2000, checkpoint, "not evaluated")
    assert _best(store, run_id).step == 1000
    store._client.delete_logged_model(model_ids[1000])
    assert _best(store, run_id).step == 1500, "somebody deleted the best one"
