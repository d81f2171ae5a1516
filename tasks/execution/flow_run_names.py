"""What flow runs are called that look at runs: by the names that those have in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prefect.runtime import flow_run

from tasks.store import StoreError, open_store

_NAMED = 3
"""Runs; more would make no name."""


def titled(verb: str) -> Callable[[], str]:
    """A `flow_run_name`, for a flow whose settings name a run or several."""

    def name() -> str:
        settings = flow_run.parameters["settings"]
        try:
            return f"{verb} {_names(getattr(settings, 'runs', None) or (settings.run,))}"
        except StoreError:
            # It will say so itself, in a run that has a name.
            return f"{verb} {settings.title}"

    return name


def _names(references: Sequence[str]) -> str:
    store = open_store()
    runs = [store.run(store.resolve_run(reference)) for reference in references[:_NAMED]]
    more = f" and {len(references) - _NAMED} more" if references[_NAMED:] else ""
    return f"{runs[0].tags.get('ramreel.env_id', '')} {', '.join(run.name for run in runs)}{more}".strip()
