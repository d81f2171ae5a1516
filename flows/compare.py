"""Compare runs of one game, grouped by approach, across seeds: a report in a run of its own."""

from __future__ import annotations

from prefect import flow

from flows.train import ending
from tasks.arcade.settings import CompareSettings
from tasks.compare import ComparedRuns, find_runs, start_comparison, write_report
from tasks.restarts import refuse_crash_loop


@flow(name="compare", flow_run_name="compare {settings.title}")
def compare(settings: CompareSettings) -> ComparedRuns:
    """Write a report of several runs.

    Raises:
        StoreError: a run is not there, or the runs are of different games.
    """
    refuse_crash_loop()
    run_ids = find_runs(settings.runs)
    comparison_id = start_comparison(run_ids, settings.name, settings.experiment)
    with ending(comparison_id):
        return write_report(comparison_id, run_ids)
