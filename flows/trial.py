"""Trial flow: train the next trial of a sweep."""

from __future__ import annotations

from prefect import flow

from flows.train import train_run
from tasks.arcade.inputs.forms import SweepSettings, TrainSettings, TrialSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.tuning.search_space import SweepError
from tasks.arcade.tuning.study import SweepStudy, open_study
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.runs.lookup import TRIAL_TAG
from tasks.store import open_store, study_uri
from tasks.sweep import mark_pruned
from tasks.train import start_run


@flow(name="trial", flow_run_name="trial of {settings.title}")
def trial(settings: TrialSettings) -> None:
    """Train the next trial of a sweep, if it lacks one; a trial whose process was killed comes first.

    Raises:
        SweepError: the sweep's study is not in the database of this machine, or another process repeats the trial.
        StudyDatabaseError: the database of the sweep's study cannot be used.
        StoreError: the store is unavailable, or no database for the study is named.
        WorkerError: a worker process died, does not respond, or raised.
        DivergedError: the loss or the policy became non-finite.
    """
    refuse_crash_loop()
    with open_study(study_uri(open_store()), settings.sweep) as study:
        if study.run_id != settings.run:
            raise SweepError(
                f"the study of {settings.title!r} is not in the database of this machine: set RAMREEL_STUDY_DATABASE "
                "to that of the sweep"
            )
        _train_trial(study, settings.sweep, settings.run)


def _train_trial(study: SweepStudy, settings: SweepSettings, parent: str) -> None:
    proposed = study.ask()
    if proposed is None:
        return
    inputs = TrainSettings(
        env_id=settings.env_id,
        approach=proposed.approach,
        seed=settings.seed,
        steps=settings.steps,
        checkpoint_every=settings.steps,
    )
    run, name = run_settings(inputs), f"{settings.title}, trial {proposed.number}"
    tags = {"mlflow.parentRunId": parent, TRIAL_TAG: str(proposed.number)}
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
