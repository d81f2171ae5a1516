"""Compare flow: a report of runs of one game, grouped by approach, across seeds."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.inputs.forms import CompareSettings
from tasks.compare import ComparedRuns, find_compared_runs, start_comparison, write_comparison_report
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import named_after_runs
from tasks.execution.run_status import active_run


@flow(name="compare", flow_run_name=named_after_runs("compare"))
def compare(settings: CompareSettings) -> ComparedRuns:
    """Compare runs in a report, in an MLflow run of its own.

    Raises:
        StoreError: no run matches a reference, or the runs are not comparable.
    """
    refuse_crash_loop()
    selection = find_compared_runs(settings.runs, settings.against, settings.normalized)
    comparison_id = start_comparison(selection, settings.name, settings.experiment)
    with active_run(comparison_id):
        return write_comparison_report(comparison_id, selection)
