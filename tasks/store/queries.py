"""Searches in MLflow, every page of them: runs of all experiments, without deleted runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.store.entities import PagedList

_T = TypeVar("_T")
PAGE = 100
"""Results per request."""


def runs_referred_to(client: MlflowClient, reference: str) -> list[Run]:
    """Return up to four runs by run id, prefix of one, or name; for `latest` the training run started last."""
    if reference == "latest":
        return _first(client, "tags.`ramreel.kind` = 'training'", 1)
    if re.fullmatch(r"[0-9a-f]{4,32}", reference) and (
        found := _first(client, f"attributes.run_id LIKE '{reference}%'", 4)
    ):
        return found
    return _first(client, _named(reference), 4) if _is_quotable(reference) else []


def runs_named(client: MlflowClient, name: str) -> Iterator[Run]:
    """Yield the runs of a name, the one started last first."""
    return _search(client, _named(name)) if _is_quotable(name) else iter(())


def runs_with(
    client: MlflowClient, tags: Mapping[str, str | None], status: str | None, experiment: str | None, limit: int | None
) -> list[Run]:
    """Return the runs with all of some tags, the one started last first.

    Args:
        client: MLflow's client.
        tags: values by key; None is a tag that a run does not have.
        status: their status (default: any).
        experiment: name of their experiment (default: any).
        limit: maximum number of runs (default: all).
    """
    if not all(_is_quotable(value) for value in tags.values() if value is not None):
        return []
    terms = [f"tags.`{key}` IS NULL" if value is None else f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    if status:
        terms.append(f"attributes.status = '{status}'")
    query = " AND ".join(terms)
    return list(_search(client, query, experiment)) if limit is None else _first(client, query, limit, experiment)


def training_runs(client: MlflowClient, pattern: str, limit: int) -> Iterator[Run]:
    """Yield training runs of the games whose environment ids contain a text, the one started last first."""
    query = "tags.`ramreel.kind` = 'training'"
    if pattern:
        if not _is_quotable(pattern):
            return iter(())
        query += f" AND tags.`ramreel.env_id` ILIKE '%{pattern}%'"
    return islice(_search(client, query), limit)


def all_runs(client: MlflowClient, *, deleted: bool = False) -> Iterator[Run]:
    """Yield all runs, or all deleted ones, the one started last first."""
    from mlflow.entities import ViewType

    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    ids = _experiment_ids(client, None)
    return pages(
        lambda token: client.search_runs(
            ids, "", view, max_results=PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
    )


def existing_runs(client: MlflowClient, run_ids: Collection[str]) -> set[str]:
    """Return those of some run ids whose runs exist, deleted or not, from two searches."""
    from mlflow.entities import ViewType

    if not run_ids:
        return set()
    query = f"attributes.run_id IN ({', '.join(map(repr, run_ids))})"
    experiments = pages(lambda token: client.search_experiments(ViewType.ALL, max_results=PAGE, page_token=token))
    ids = [experiment.experiment_id for experiment in experiments]
    found = pages(
        lambda token: client.search_runs(ids, query, ViewType.ALL, max_results=len(run_ids), page_token=token)
    )
    return {run.info.run_id for run in found}


def logged_models(client: MlflowClient, run: Run) -> Iterator[LoggedModel]:
    """Yield the logged models of a run, the oldest first."""
    return pages(
        lambda token: client.search_logged_models(
            [run.info.experiment_id],
            f"source_run_id = '{run.info.run_id}'",
            max_results=PAGE,
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
            page_token=token,
        )
    )


def checkpoint_steps(client: MlflowClient, run: Run) -> Iterator[int]:
    """Yield the steps of the complete checkpoints of a run."""
    for model in logged_models(client, run):
        if str(model.status) == "READY" and "ramreel.step" in model.tags:
            yield int(model.tags["ramreel.step"])


def run_pages(client: MlflowClient, query: str, size: int) -> Iterator[list[Run]]:
    """Yield the runs of a query page by page, the one started last first."""
    ids, token = _experiment_ids(client, None), None
    while ids:
        page = client.search_runs(
            ids, query, max_results=size, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield list(page)
        token = page.token
        if not token:
            return


def newest_run_of_rom(client: MlflowClient, kind: str, rom: str) -> Run | None:
    """Return the finished run of a kind, such as atlas, and of a ROM that was started last."""
    if not _is_quotable(rom):
        return None
    query = f"tags.`ramreel.kind` = '{kind}' AND tags.`ramreel.rom` = '{rom}' AND attributes.status = 'FINISHED'"
    return next(iter(_first(client, query, 1)), None)


def pages(search: Callable[[str | None], PagedList[_T]]) -> Iterator[_T]:
    """Yield the results of a search page by page.

    Args:
        search: returns the page of a token; None is the first page.
    """
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def _named(name: str) -> str:
    return f"attributes.run_name = '{name}'"


def _is_quotable(value: str) -> bool:
    # MLflow's filters have no escape for quotes.
    return bool(value) and not {"'", '"', "`"} & set(value)


def _first(client: MlflowClient, query: str, limit: int, experiment: str | None = None) -> list[Run]:
    return list(islice(_search(client, query, experiment, page_size=limit), limit))


def _search(client: MlflowClient, query: str, experiment: str | None = None, page_size: int = PAGE) -> Iterator[Run]:
    ids = _experiment_ids(client, experiment)
    return pages(
        lambda token: client.search_runs(
            ids, query, max_results=page_size, order_by=["attributes.start_time DESC"], page_token=token
        )
    )


def _experiment_ids(client: MlflowClient, name: str | None) -> list[str]:
    if name is None:
        found = pages(lambda token: client.search_experiments(max_results=PAGE, page_token=token))
        return [experiment.experiment_id for experiment in found]
    experiment = client.get_experiment_by_name(name)
    return [experiment.experiment_id] if experiment else []
