"""Retrain flow: train a champion whose performance dropped, within a cool-down and a limit on attempts."""

from __future__ import annotations

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.train import TrainedRun, train_run
from tasks.arcade.inputs.unattended import RetrainSettings
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.retrain import plan_retraining
from tasks.train import start_run


@flow(name="retrain", flow_run_name="retrain {settings.title}")
def retrain(settings: RetrainSettings) -> TrainedRun | State[None]:
    """Retrain the champion of a game from its last valid checkpoint or from scratch, or skip with the reason.

    Raises:
        StoreError: the game has no champion.
        WorkerError: a worker process died, does not respond, or raised.
    """
    refuse_crash_loop()
    plan = plan_retraining(settings)
    if plan.run is None:
        return Completed(name="Skipped", message=plan.skip_reason)
    run_id = start_run(plan.run, plan.name, plan.experiment, plan.tags)
    return train_run(run_id, plan.name, plan.run, settings.workers, plan.start_from)
