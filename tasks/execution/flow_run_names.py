"""Names of flow runs that work on other runs: by the names of those runs in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect.runtime import flow_run

from tasks.arcade.inputs.fields import is_run_id
from tasks.store import StoreError, open_store

_MAX_NAMED = 3
"""Runs listed by name in a flow run's name."""


def named_after_runs(verb: str) -> Callable[[], str]:
    """Return a `flow_run_name` for a flow whose settings refer to one run or several.

    Runs given by id are shown by their names. Other references are shown as given: the flow resolves them.
    """

    def name() -> str:
        settings = flow_run.parameters["settings"]
        references = getattr(settings, "runs", None) or (settings.run,)
        if not all(map(is_run_id, references)):
            return f"{verb} {settings.title}"
        try:
            return f"{verb} {_names(references)}"
        except StoreError:
            # The flow itself raises it, within a flow run that has a name.
            return f"{verb} {settings.title}"

    return name


def _names(run_ids: Sequence[str]) -> str:
    store = open_store()
    runs = [store.run(run_id) for run_id in run_ids[:_MAX_NAMED]]
    more = f" and {len(run_ids) - _MAX_NAMED} more" if run_ids[_MAX_NAMED:] else ""
    return f"{runs[0].tags.get('ramreel.env_id', '')} {', '.join(run.name for run in runs)}{more}".strip()
