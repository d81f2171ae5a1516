"""Compare runs of one game, grouped by approach, across seeds: a report in a run of its own."""

from __future__ import annotations

from prefect import flow

from flows.run_status import ending
from tasks.arcade.inputs.forms import CompareSettings
from tasks.compare import ComparedRuns, find_runs, start_comparison, write_report
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import titled


@flow(name="compare", flow_run_name=titled("compare"))
def compare(settings: CompareSettings) -> ComparedRuns:
    """Write a report of several runs.

    Raises:
        StoreError: a run is not there, or the runs cannot be compared.
    """
    refuse_crash_loop()
    found = find_runs(settings.runs, settings.against, settings.normalized)
    comparison_id = start_comparison(found, settings.name, settings.experiment)
    with ending(comparison_id):
        return write_report(comparison_id, found)
