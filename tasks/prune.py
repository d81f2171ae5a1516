"""Task of the prune flow: what a retention deletes, its deletion, and a table of it in Prefect."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_table_artifact

from tasks.arcade.inputs.unattended import PruneSettings
from tasks.execution.progress_sink import log_message
from tasks.runs.prune_summary import Pruned, plan_lines, summarize
from tasks.store import open_store, plan_pruning, prune


@task(task_run_name="prune the store")
def prune_store(settings: PruneSettings) -> Pruned:
    """List what a retention deletes, and delete it if the settings say so.

    Raises:
        StoreError: the store is unavailable.
    """
    store = open_store()
    plan = plan_pruning(store, settings)
    lines = plan_lines(plan, deleted=settings.delete)
    for line in lines:
        log_message(line)
    if settings.delete:
        prune(store, plan, log_message)
    create_table_artifact(
        [{"what": line} for line in lines], key="prune", description="Deleted" if settings.delete else "Not deleted yet"
    )
    return summarize(plan, deleted=settings.delete)
