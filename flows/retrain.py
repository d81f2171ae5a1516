"""Train again where a champion is no longer what it was: not too soon, and not for ever."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.train import TrainedRun, trained
from tasks.arcade.inputs.forms import RetrainSettings
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.retrain import plan
from tasks.train import start_run


@flow(name="retrain", flow_run_name="retrain {settings.title}")
def retrain(settings: RetrainSettings) -> TrainedRun | State[None]:
    """Train a game's champion again, from its last good checkpoint or from scratch; or say why not now.

    Raises:
        StoreError: the game has no champion.
        WorkerError: a worker process died, hangs or raised.
    """
    refuse_crash_loop()
    planned = plan(settings)
    if planned.run is None:
        return Completed(name="Skipped", message=planned.refused)
    run_id = start_run(planned.run, planned.name, planned.experiment, planned.tags)
    return trained(run_id, planned.name, planned.run, settings.workers, planned.begin)
