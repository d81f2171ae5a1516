"""What a training is compared with when it is finished."""

from __future__ import annotations

from itertools import islice

from prefect import task

from tasks.runs.comparability import difference
from tasks.store import open_store


@task(task_run_name="look for earlier trainings")
def earlier_trainings(run_id: str, limit: int) -> tuple[str, ...]:
    """Ids of the finished, evaluated trainings of a run's very game in its experiment, the one started last first."""
    store = open_store()
    run = store.run(run_id)
    assert run.settings is not None
    found = store.scan(store.runs_tagged("ramreel.env_id", run.settings.game.env_id))
    fit = (
        other.run_id
        for other in found
        if other.run_id != run_id
        and (other.kind, other.status, other.experiment) == ("training", "FINISHED", run.experiment)
        and other.settings is not None
        and not difference(run.settings.game, other.settings.game)
        and store.evaluations(other.run_id)
    )
    return tuple(islice(fit, limit))
