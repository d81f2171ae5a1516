"""Prune flow: delete old runs, videos and training states that nothing refers to any more."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.inputs.unattended import PruneSettings
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.prune import prune_store
from tasks.runs.prune_summary import Pruned


@flow(name="prune", flow_run_name="prune {settings.title}")
def prune(settings: PruneSettings) -> Pruned:
    """List or delete what is old.

    Raises:
        StoreError: the store is unavailable.
    """
    refuse_crash_loop()
    return prune_store(settings)
