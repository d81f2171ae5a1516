"""A flow whose game has no ROM on this machine fails before it starts or touches a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.atlas import atlas
from flows.compare import compare
from flows.record import record
from flows.sweep import sweep
from flows.train import resume, train
from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.emulator.environment_ids import RomError, rom_digest
from tasks.arcade.inputs.forms import (
    AtlasSettings,
    CompareSettings,
    RecordSettings,
    ResumeSettings,
    SweepSettings,
    TrainSettings,
)
from tasks.store import Store


def runs(store: Store) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the status and the tags of every run."""
    found = store._client.search_runs([one.experiment_id for one in store._client.search_experiments()])
    return {run.info.run_id: (run.info.status, dict(run.data.tags)) for run in found}


def test_no_run_is_started_or_changed(
    store: Store, small: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = train(small.model_copy(update={"approach": "random"})).run_id
    before = runs(store)
    assert list(before) == [run_id]
    rom_digest.cache_clear()
    action_names.cache_clear()
    monkeypatch.setenv("ALE_ROMS_DIR", str(tmp_path / "gone"))
    for start in (
        lambda: train(small),
        lambda: resume(ResumeSettings(run=run_id, steps=2048)),
        lambda: record(RecordSettings(run=run_id)),
        lambda: compare(CompareSettings(runs=(run_id,))),
        lambda: sweep(SweepSettings(env_id=small.env_id, trials=1, steps=256)),
        lambda: atlas(AtlasSettings(env_id=small.env_id)),
    ):
        with pytest.raises(RomError, match=r"^ALE_ROMS_DIR is "):
            start()
    assert runs(store) == before
