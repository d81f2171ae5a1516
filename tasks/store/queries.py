"""The runs that a person's words stand for, over all experiments and without deleted runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

_T = TypeVar("_T")
PAGE = 100


def find_runs(client: MlflowClient, reference: str) -> list[Run]:
    """Up to four runs with this id, beginning of an id, or name; for `latest` the training run started last."""
    if reference == "latest":
        return _search(client, "tags.`ramreel.kind` = 'training'", 1)
    if re.fullmatch(r"[0-9a-f]{4,32}", reference) and (
        found := _search(client, f"attributes.run_id LIKE '{reference}%'", 4)
    ):
        return found
    return runs_named(client, reference, 4)


def runs_named(client: MlflowClient, name: str, limit: int = PAGE) -> list[Run]:
    """Runs of this name, the one started last first."""
    return _search(client, f"attributes.run_name = '{name}'", limit) if _can_be_asked_for(name) else []


def runs_tagged(client: MlflowClient, key: str, value: str, limit: int = PAGE) -> list[Run]:
    """Runs with this tag, the one started last first."""
    return _search(client, f"tags.`{key}` = '{value}'", limit) if _can_be_asked_for(value) else []


def newest_atlas(client: MlflowClient, rom: str) -> Run | None:
    """The finished run with an atlas of this ROM that was started last."""
    if not _can_be_asked_for(rom):
        return None
    wanted = f"tags.`ramreel.kind` = 'atlas' AND tags.`ramreel.rom` = '{rom}' AND attributes.status = 'FINISHED'"
    return next(iter(_search(client, wanted, 1)), None)


def _can_be_asked_for(value: str) -> bool:
    # MLflow's filters have no escape for quotes.
    return bool(value) and not {"'", '"', "`"} & set(value)


def pages(search: Callable[[str | None], PagedList[_T]]) -> Iterator[_T]:
    """Everything that a search finds, asked for page by page; `search` takes the token of the page."""
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def _search(client: MlflowClient, wanted: str, limit: int) -> list[Run]:
    experiments = pages(lambda token: client.search_experiments(max_results=PAGE, page_token=token))
    ids = [experiment.experiment_id for experiment in experiments]
    return list(client.search_runs(ids, wanted, max_results=limit, order_by=["attributes.start_time DESC"]))
