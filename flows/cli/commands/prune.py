"""`ramreel prune`."""

from __future__ import annotations

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import configure_prefect, open_checked_store, open_terminal, validated
from tasks.arcade.inputs.unattended import PruneSettings
from tasks.arcade.plural_forms import pluralize


@options_of(PruneSettings)
def prune(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """List old runs, videos and training states that no champion and no report needs; with --yes, delete them."""
    settings = validated(PruneSettings, given)
    store = open_checked_store(tracking_uri)
    configure_prefect()
    with open_terminal(as_json, quiet) as terminal:
        from tasks.runs.prune_summary import plan_lines, summarize
        from tasks.services.prefect_vacuum import count_old_flow_runs, delete_old_flow_runs
        from tasks.store import plan_pruning, prune

        plan, flow_runs = plan_pruning(store, settings), count_old_flow_runs()
        lines = [f"{pluralize(flow_runs, 'flow run')} in Prefect", *plan_lines(plan, deleted=settings.delete)]
        if settings.delete:
            prune(store, plan, terminal.log)
            delete_old_flow_runs()
        else:
            lines.append("Nothing was deleted: --yes deletes it")
        values = summarize(plan, deleted=settings.delete).model_dump() | {"flow_runs": flow_runs}
        terminal.results(lines, values)
