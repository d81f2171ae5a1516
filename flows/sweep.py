"""Sweep flow: search for an approach's hyperparameters, one training run per trial; bad trials are pruned."""

from __future__ import annotations

from prefect import flow

from flows.run_status import active_run
from flows.train import train_run
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.inputs.forms import SweepSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.tuning import Search, opened, parameters
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.runs.lookup import TRIAL_TAG
from tasks.store import open_store, study_file
from tasks.sweep import SweepResult, mark_pruned, start_sweep_run, write_report
from tasks.train import start_run


@flow(name="sweep", flow_run_name="{settings.title}")
def sweep(settings: SweepSettings) -> SweepResult:
    """Train the trials that a sweep still lacks; their runs are nested in the sweep's run.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        SweepError: the approach has no hyperparameters, or a sweep of this name exists with other settings.
        StoreError: another process is running the sweep.
        WorkerError: a worker process died, does not respond, or raised.
    """
    refuse_crash_loop()
    resolve(settings.env_id)
    parameters(settings)
    with opened(study_file(open_store()), settings) as search:
        with search.alone:
            search.run_id = run_id = start_sweep_run(settings, search.run_id)
        with active_run(run_id), open_store().lease(run_id):
            while _train_trial(search, settings, run_id):
                pass
            return write_report(run_id, settings, search.rows(), search.figures())


def _train_trial(search: Search, settings: SweepSettings, parent: str) -> bool:
    """Train the next trial; return whether there was one."""
    chosen = search.next()
    if chosen is None:
        return False
    inputs = TrainSettings(
        env_id=settings.env_id,
        approach=chosen.approach,
        seed=settings.seed,
        steps=settings.steps,
        checkpoint_every=settings.steps,
    )
    run, name = run_settings(inputs), f"{settings.title}, trial {chosen.number}"
    tags = {"mlflow.parentRunId": parent, TRIAL_TAG: str(chosen.number)}
    run_id = start_run(run, name, settings.experiment, tags)
    search.began(run_id)
    try:
        trained = train_run(
            run_id,
            name,
            run,
            settings.workers,
            trial=True,
            should_stop=lambda progress: search.should_prune(progress.step, progress.mean_return),
        )
    except Exception:
        search.raised()
        raise
    search.ended(trained.steps, trained.mean_return)
    if trained.steps < settings.steps:
        mark_pruned(run_id, trained.steps)
    return True
