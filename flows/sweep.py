"""Sweep flow: search for an approach's hyperparameters, one training run per trial; bad trials are pruned."""

from __future__ import annotations

from prefect import flow
from prefect.runtime import flow_run

from flows.runtime.child_run import ChildRun, ChildRunsError
from flows.runtime.child_runs import run_children
from flows.trial import trial
from tasks.arcade.emulator.environment_ids import resolve, rom_path
from tasks.arcade.inputs.forms import SweepSettings, TrialSettings
from tasks.arcade.tuning.search_space import searched_parameters
from tasks.arcade.tuning.study import open_study
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.run_status import active_run
from tasks.store import open_store, study_uri
from tasks.sweep import SweepResult, start_sweep_run, write_sweep_report


@flow(name="sweep", flow_run_name="{settings.title}")
def sweep(settings: SweepSettings) -> SweepResult:
    """Train the trials that a sweep still lacks, several at once; their runs are nested in the sweep's run.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        RomError: the ROM of the game cannot be read.
        SweepError: the approach has no hyperparameters, or a sweep of this name exists with other settings.
        StudyDatabaseError: the database of the sweep's study cannot be used.
        StoreError: another process is running the sweep, or no database for its study is named.
        ChildRunsError: some trials failed; the report has the others.
    """
    refuse_crash_loop()
    rom_path(resolve(settings.env_id).rom)
    searched_parameters(settings)
    with open_study(study_uri(open_store()), settings) as study:
        with study.lock():
            study.run_id = run_id = start_sweep_run(settings, study.run_id)
        with active_run(run_id, "the same command resumes the sweep"), open_store().lease(run_id):
            # A sweep that is started again finds its trials by their numbers, also those that were trained meanwhile.
            n_trials = study.n_missing() if flow_run.run_count == 1 else settings.trials
            children = [ChildRun(trial, TrialSettings(sweep=settings, run=run_id), str(n)) for n in range(n_trials)]
            failed = run_children(children, settings.workers)
            result = write_sweep_report(run_id, settings, study.rows(), study.figures())
            if failed:
                raise ChildRunsError(failed, n_trials, "run the sweep again to train further ones")
            return result
