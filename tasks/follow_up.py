"""Task of the follow-up flow: the runs that a finished training run is compared with."""

from __future__ import annotations

from itertools import islice

from prefect import task

from tasks.runs.comparability import game_difference
from tasks.runs.lookup import TRIAL_TAG
from tasks.store import open_store


@task(task_run_name="find earlier runs")
def earlier_runs(run_id: str, limit: int) -> tuple[str, ...]:
    """Return the finished and evaluated training runs of the same game and experiment, latest first.

    Runs whose game settings differ and trials of sweeps are left out.
    """
    store = open_store()
    run = store.run(run_id)
    assert run.settings is not None
    tags = {"ramreel.kind": "training", "ramreel.env_id": run.settings.game.env_id, TRIAL_TAG: None}
    found = store.runs_with(tags, status="FINISHED", experiment=run.experiment)
    comparable = (
        other.run_id
        for other in store.iter_runs(other_id for other_id in found if other_id != run_id)
        if other.settings is not None
        and not game_difference(run.settings.game, other.settings.game)
        and store.evaluations(other.run_id)
    )
    return tuple(islice(comparable, limit))
