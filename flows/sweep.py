"""Sweep flow: search for an approach's hyperparameters, one training run per trial; bad trials are pruned."""

from __future__ import annotations

from prefect import flow

from flows.train import train_run
from tasks.arcade.emulator.environment_ids import resolve, rom_path
from tasks.arcade.inputs.forms import SweepSettings, TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.tuning.search_space import searched_parameters
from tasks.arcade.tuning.study import SweepStudy, open_study
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.run_status import active_run
from tasks.runs.lookup import TRIAL_TAG
from tasks.store import open_store, study_uri
from tasks.sweep import SweepResult, mark_pruned, start_sweep_run, write_sweep_report
from tasks.train import start_run


@flow(name="sweep", flow_run_name="{settings.title}")
def sweep(settings: SweepSettings) -> SweepResult:
    """Train the trials that a sweep still lacks; their runs are nested in the sweep's run.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        RomError: the ROM of the game cannot be read.
        SweepError: the approach has no hyperparameters, a sweep of this name exists with other settings, or another
            process repeats a trial whose heartbeats stopped.
        StudyDatabaseError: the database of the sweep's study cannot be used.
        StoreError: another process is running the sweep, or no database for its study is named.
        WorkerError: a worker process died, does not respond, or raised.
    """
    refuse_crash_loop()
    rom_path(resolve(settings.env_id).rom)
    searched_parameters(settings)
    with open_study(study_uri(open_store()), settings) as study:
        with study.lock():
            study.run_id = run_id = start_sweep_run(settings, study.run_id)
        with active_run(run_id), open_store().lease(run_id):
            while _train_trial(study, settings, run_id):
                pass
            return write_sweep_report(run_id, settings, study.rows(), study.figures())


def _train_trial(study: SweepStudy, settings: SweepSettings, parent: str) -> bool:
    """Train the next trial; return whether there was one."""
    trial = study.ask()
    if trial is None:
        return False
    inputs = TrainSettings(
        env_id=settings.env_id,
        approach=trial.approach,
        seed=settings.seed,
        steps=settings.steps,
        checkpoint_every=settings.steps,
    )
    run, name = run_settings(inputs), f"{settings.title}, trial {trial.number}"
    tags = {"mlflow.parentRunId": parent, TRIAL_TAG: str(trial.number)}
    run_id = start_run(run, name, settings.experiment, tags)
    study.set_trial_run(run_id)
    try:
        trained = train_run(
            run_id,
            name,
            run,
            settings.workers,
            trial=True,
            should_stop=lambda progress: study.should_prune(progress.step, progress.mean_return),
        )
    except Exception:
        study.tell_failed()
        raise
    study.tell(trained.steps, trained.mean_return)
    if trained.steps < settings.steps:
        mark_pruned(run_id, trained.steps)
    return True
