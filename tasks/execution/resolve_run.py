"""Resolution of a run reference at the start of a flow."""

from __future__ import annotations

from prefect import task

from tasks.arcade.inputs.fields import is_run_id
from tasks.store import open_store


def resolve_run(reference: str) -> str:
    """Return the run id of a reference. A flow calls it once, at its start, and passes on the id.

    A full run id, as commands, automations and parent flows pass it, needs no lookup.

    Raises:
        StoreError: no run matches, or several do.
    """
    return reference if is_run_id(reference) else look_up_run(reference)


@task(task_run_name="look up run {reference}")
def look_up_run(reference: str) -> str:
    """Look up the run with this name or prefix of its run id, or the latest training run.

    Raises:
        StoreError: no run matches, or several do.
    """
    return open_store().resolve_run(reference)
