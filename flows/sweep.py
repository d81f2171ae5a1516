"""Search for an approach's hyper-parameters: a training a trial, should_prune ones stopped early."""

from __future__ import annotations

from prefect import flow

from flows.run_status import ending
from flows.train import trained
from tasks.arcade.emulator.emulator import resolve
from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.tuning import Search, SweepSettings, opened, parameters
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.graceful_stop import judged
from tasks.store import open_store, study_file
from tasks.sweep import Swept, note_pruned, start, write_report
from tasks.train import start_run


@flow(name="sweep", flow_run_name="{settings.title}")
def sweep(settings: SweepSettings) -> Swept:
    """Train as many trials as are asked for and not yet done; the trainings are nested in the sweep's run.

    Raises:
        UnknownGameError: no such environment id, or one without RAM.
        SweepError: there is nothing to search for, or a sweep of this name is there already, of other settings.
        StoreError: another process goes on with this sweep.
        WorkerError: a worker process died, hangs or raised.
    """
    refuse_crash_loop()
    resolve(settings.env_id)
    parameters(settings)
    with opened(study_file(open_store()), settings) as search:
        with search.alone:
            search.run_id = run_id = start(settings, search.run_id)
        with ending(run_id), open_store().lease(run_id):
            while _trial(search, settings, run_id):
                pass
            return write_report(run_id, settings, search.rows(), search.figures())


def _trial(search: Search, settings: SweepSettings, parent: str) -> bool:
    """Train the next trial; false if there is none."""
    chosen = search.next()
    if chosen is None:
        return False
    asked = TrainSettings(
        env_id=settings.env_id,
        approach=chosen.approach,
        seed=settings.seed,
        steps=settings.steps,
        checkpoint_every=settings.steps,
    )
    run, name = run_settings(asked), f"{settings.title}, trial {chosen.number}"
    tags = {"mlflow.parentRunId": parent, "ramreel.trial": str(chosen.number)}
    run_id = start_run(run, name, settings.experiment, tags)
    search.began(run_id)
    with judged(lambda progress: search.should_prune(progress.step, progress.mean_return)):
        try:
            done = trained(run_id, name, run, settings.workers)
        except Exception:
            search.raised()
            raise
    search.ended(done.steps, done.mean_return)
    if done.steps < settings.steps:
        note_pruned(run_id, done.steps)
    return True
