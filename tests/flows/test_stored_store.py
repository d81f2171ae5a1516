"""A store that version 0.2 wrote, restored from its backup, is opened and used by this version.

`tests/data/store-0.2.tar.xz` is `ramreel backup` of a store with the run `small`: PPO with a tiny network on Breakout,
checkpoints at steps 128 and 256, the last one recorded as plain video and crowned champion. Both databases have the
schemas of MLflow 3.17.2 and Prefect 3.9.1.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.processes import started

from flows.guard import guard
from flows.train import resume
from tasks.arcade.inputs.forms import ResumeSettings
from tasks.arcade.inputs.unattended import GuardSettings, PruneSettings
from tasks.runs.verify import verify_run
from tasks.store import ChampionRegistry, open_store, plan_pruning, restore_backup
from tasks.store.address import find_address
from tasks.store.migration import is_older

ARCHIVE = Path(__file__).parents[1] / "data/store-0.2.tar.xz"
GAME = "ALE/Breakout-v5"


@pytest.fixture
def restored(at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with the store, the home of this test's flows."""
    home = tmp_path / "restored"
    backup = restore_backup(ARCHIVE, find_address(f"sqlite:///{home}/mlruns/mlflow.db"))
    assert backup.versions["ramreel"] == "0.2.0"
    monkeypatch.setenv("RAMREEL_HOME", str(home))
    return home


def test_run_of_version_0_2_verifies_and_resumes(restored: Path) -> None:
    store = open_store()
    run_id = store.resolve_run("small")
    (proof,) = verify_run(store, run_id)
    assert (proof.ok, proof.by_checkpoint) == (True, True), proof.line
    assert resume(ResumeSettings(run=run_id, steps=384, workers=1)).steps == 384
    assert [one.step for one in store.list_checkpoints(run_id)] == [128, 256, 384]


def test_champion_of_version_0_2_is_guarded_and_kept(restored: Path) -> None:
    store = open_store()
    champion = ChampionRegistry(store.address).champion(GAME)
    assert champion is not None
    assert champion.step == 256
    assert [one.step for one in guard(GuardSettings(episodes=10))] == [256]
    plan = plan_pruning(store, PruneSettings(manual=True, runs_days=1, max_runs=1))
    assert plan.runs == (), "the champion's run stays"


def test_prefect_database_of_version_0_2_is_used_by_commands(restored: Path) -> None:
    database = restored / "mlruns/prefect.db"
    migrates = is_older(database, "prefect")
    with started(
        ["record", "small", "--checkpoint", "128", "--episodes", "1", "--plain", "--json"], restored
    ) as command:
        code, out, errors = command.wait()
    assert code == 0, errors
    assert [video["step"] for video in json.loads(out.splitlines()[-1])["videos"]] == [128, 256]
    assert not is_older(database, "prefect")
    assert bool(list(database.parent.glob("prefect.db.before-*"))) == migrates
