"""Tasks of the sweep flow: the sweep's MLflow run, pruned trials, the report."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact

from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.report.sweep_page import render_sweep_html
from tasks.arcade.settings.base import Settings
from tasks.arcade.tuning.study import Figure, TrialRow, best_trial, settings_toml
from tasks.execution import provenance
from tasks.runs.run_description import artifact_link
from tasks.store import BEST_SETTINGS, REPORT, open_store, start_sweep


class SweepResult(Settings):
    """A sweep in the store; `report` is an artifact path."""

    run_id: str
    report: str
    trials: tuple[TrialRow, ...]
    best: TrialRow | None


@task(task_run_name="start {settings.title}")
def start_sweep_run(settings: SweepSettings, previous: str | None) -> str:
    """Start the sweep's MLflow run, or continue its previous one, and return its run id.

    Raises:
        StoreError: another process is running the sweep.
    """
    store = open_store()
    # A study outlives its run, which may have been deleted.
    if previous is not None and store.exists(previous):
        store.lease(previous).raise_if_held()
        store.mark_running(previous)
        return previous
    return start_sweep(store, settings, **provenance.origin())


@task(task_run_name="mark trial as pruned")
def mark_pruned(run_id: str, steps: int) -> None:
    """Tag a trial's run with the reason why it has fewer steps."""
    open_store().set_tag(run_id, "ramreel.reason", f"pruned at step {steps:,}: worse than other trials at this step")


@task(task_run_name="write report of {settings.title}")
def write_sweep_report(
    run_id: str, settings: SweepSettings, rows: tuple[TrialRow, ...], figures: tuple[Figure, ...]
) -> SweepResult:
    """Log the report and the best trial's settings file to MLflow, and create a table artifact of the trials."""
    store = open_store()
    best = best_trial(rows)
    store.log_text(run_id, render_sweep_html(settings, rows, figures, provenance.command()), REPORT)
    if best is not None and best.value is not None:
        store.log_text(run_id, settings_toml(settings, best), BEST_SETTINGS)
        store.log_metrics(run_id, {"sweep/best_mean_return": best.value}, len(rows))
    report = artifact_link(store, run_id, REPORT, "Report")
    result = f"Best trial: {best.number}, mean return {best.value:.1f}" if best and best.value is not None else ""
    store.set_description(run_id, f"{result}\n\n{report}".strip())
    table = [{"trial": row.number, "state": row.state, "mean_return": row.value, **row.params} for row in rows]
    create_table_artifact(table, key=f"sweep-{run_id[:8]}", description=settings.title)
    return SweepResult(run_id=run_id, report=REPORT, trials=rows, best=best)
