"""A sweep's side effects: its run in MLflow, its study, its trials' ends, its report."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact

from tasks.arcade.report.sweep_page import render_html
from tasks.arcade.settings.base import Settings
from tasks.arcade.tuning import Figure, SweepSettings, TrialRow, as_toml, best_of
from tasks.execution import provenance
from tasks.store import BEST_SETTINGS, open_store, start_sweep

REPORT = "reports/report.html"


class Swept(Settings):
    """A sweep that is in the store."""

    run_id: str
    report: str
    trials: tuple[TrialRow, ...]
    best: TrialRow | None


@task(task_run_name="start {settings.title}")
def start(settings: SweepSettings, before: str | None) -> str:
    """Start the sweep's MLflow run, or go on with the one that it has; returns its id.

    Raises:
        StoreError: another process goes on with it.
    """
    store = open_store()
    # A study outlives its run, which somebody may delete.
    if before is not None and store.is_there(before):
        store.lease(before).refuse_if_held()
        store.continue_run(before)
        return before
    return start_sweep(store, settings, **provenance.origin())


@task(task_run_name="note that trial was pruned")
def note_pruned(run_id: str, steps: int) -> None:
    """Say on a trial's run why it is so short."""
    open_store().set_tag(run_id, "ramreel.reason", f"pruned at step {steps:,}: others were better at this step")


@task(task_run_name="write report of {settings.title}")
def write_report(
    run_id: str, settings: SweepSettings, rows: tuple[TrialRow, ...], figures: tuple[Figure, ...]
) -> Swept:
    """Write the report and the best trial's settings file to MLflow, and the table to Prefect."""
    store = open_store()
    best = best_of(rows)
    store.log_text(run_id, render_html(settings, rows, figures, provenance.command()), REPORT)
    if best is not None and best.value is not None:
        store.log_text(run_id, as_toml(settings, best), BEST_SETTINGS)
        store.log_metrics(run_id, {"sweep/best_mean_return": best.value}, len(rows))
    table = [{"trial": row.number, "state": row.state, "mean_return": row.value, **row.given} for row in rows]
    create_table_artifact(table, key=f"sweep-{run_id[:8]}", description=settings.title)
    return Swept(run_id=run_id, report=REPORT, trials=rows, best=best)
