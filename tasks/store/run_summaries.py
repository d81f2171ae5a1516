"""Summaries of runs for overviews: from searches only, without settings files and artifacts of single runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from tasks.arcade.settings.legacy import current_parameters
from tasks.store import mlflow_internals, queries
from tasks.store.connection import connect
from tasks.store.errors import raises_store_error
from tasks.store.lease import lease_host
from tasks.store.store import Store
from tasks.store.values import DESCRIPTION_TAG

if TYPE_CHECKING:
    from mlflow.entities import Run

TRAINED = ("training", "imported")
"""Kinds of runs that have a learning curve."""
TRAINING_RETURN, EVALUATED_RETURN = "rollout/ep_rew_mean", "eval/mean_reward"
_GAME_TAG, _KIND_TAG = "ramreel.env_id", "ramreel.kind"
_FLOW_RUN_TAGS = ("ramreel.flow_run_id", "ramreel.root_flow_run_id")
_PAGE = 250

State = Literal["running", "interrupted", "finished", "failed", "stopped", "scheduled"]
_STATES: dict[str, State] = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "stopped", "SCHEDULED": "scheduled"}


class Evaluated(BaseModel):
    """Mean return of a checkpoint over its evaluation episodes; the interval is None if it is undefined."""

    model_config = ConfigDict(frozen=True)

    step: int
    mean: float
    low: float | None = None
    high: float | None = None


class RunSummary(BaseModel):
    """What an overview shows of a run.

    Attributes:
        kind: tag `ramreel.kind`.
        state: MLflow's status in words; `interrupted` for a training run that no process trains any more.
        rom: ALE's ROM name; None if unknown.
        seed: seed of training; None for other runs.
        steps: environment steps of the whole training run; None if unknown.
        step: environment steps trained so far.
        training_return: mean return of the last training episodes.
        evaluated: evaluation that was logged last.
        description: description of the run in MLflow's UI.
        report: run id of the comparison that compared the run last.
        flow_run_id: Prefect's flow run; None if the run was imported.
        start_ms: start time in milliseconds since the epoch, UTC.
        end_ms: end time, likewise; None while the run is running.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    experiment_id: str
    name: str
    kind: str
    state: State
    env_id: str | None
    rom: str | None
    approach: str
    seed: int | None
    steps: int | None
    step: int
    training_return: float | None
    evaluated: Evaluated | None
    description: str
    report: str | None
    flow_run_id: str | None
    start_ms: int
    end_ms: int | None


@raises_store_error
def summaries_of_game(store: Store, env_id: str, limit: int) -> tuple[RunSummary, ...]:
    """Return the runs of a game, the one started last first, from one search; empty in a fresh store."""
    if store.address.is_fresh:
        return ()
    return tuple(map(_summary, queries.runs_with(connect(store.address), {_GAME_TAG: env_id}, None, None, limit)))


@raises_store_error
def summaries_of_running(store: Store) -> tuple[RunSummary, ...]:
    """Return the training runs whose status is RUNNING, from one search; empty in a fresh store."""
    if store.address.is_fresh:
        return ()
    tags = {_KIND_TAG: "training"}
    return tuple(map(_summary, queries.runs_with(connect(store.address), tags, "RUNNING", None, None)))


@raises_store_error
def summaries_since(store: Store, since_ms: int) -> tuple[RunSummary, ...]:
    """Return the runs that were started or ended at a time or later, in ms since the epoch, from two searches."""
    if store.address.is_fresh:
        return ()
    client = connect(store.address)
    searches = (
        f"tags.`{_GAME_TAG}` IS NOT NULL AND attributes.{time} >= {since_ms}" for time in ("start_time", "end_time")
    )
    pages = (page for search in searches for page in queries.run_pages(client, search, _PAGE))
    return tuple(_summary(run) for page in pages for run in page)


@raises_store_error
def summary_of(store: Store, run_id: str) -> RunSummary | None:
    """Return a run of ramreel that is not deleted; None if there is none."""
    if store.address.is_fresh:
        return None
    found = queries.runs_referred_to(connect(store.address), run_id)
    return next((_summary(run) for run in found if run.info.run_id == run_id), None)


def pages_of_summaries(store: Store) -> Iterator[tuple[RunSummary, ...]]:
    """Yield the runs of all games page by page, the one started last first; nothing for a fresh store.

    Raises:
        StoreError: MLflow fails or is unavailable.
    """
    if store.address.is_fresh:
        return
    pages = queries.run_pages(connect(store.address), f"tags.`{_GAME_TAG}` IS NOT NULL", _PAGE)
    while (page := _next(pages)) is not None:
        yield page


@raises_store_error
def _next(pages: Iterator[list[Run]]) -> tuple[RunSummary, ...] | None:
    page = next(pages, None)
    return None if page is None else tuple(map(_summary, page))


@raises_store_error
def evaluation_curve(store: Store, run_id: str) -> tuple[Evaluated, ...]:
    """Return the evaluations of a run's checkpoints by step, from the histories of three metrics."""
    means = store.history(run_id, EVALUATED_RETURN)
    if not means:
        return ()
    low, high = (dict(store.history(run_id, f"{EVALUATED_RETURN}_{end}")) for end in ("low", "high"))
    return tuple(Evaluated(step=step, mean=mean, low=low.get(step), high=high.get(step)) for step, mean in means)


def _summary(run: Run) -> RunSummary:
    tags, params, points = run.data.tags, current_parameters(run.data.params), mlflow_internals.latest_points(run)
    seed, steps = tags.get("ramreel.seed"), params.get("steps", "")
    return RunSummary(
        run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        name=run.info.run_name or run.info.run_id[:8],
        kind=tags.get(_KIND_TAG, ""),
        state=_state(run),
        env_id=tags.get(_GAME_TAG),
        rom=params.get("game.rom"),
        approach=tags.get("ramreel.approach", ""),
        seed=int(seed) if seed and seed.isdecimal() else None,
        steps=int(steps) if steps.isdecimal() else None,
        step=max((step for step, _ in points.values()), default=0),
        training_return=points[TRAINING_RETURN][1] if TRAINING_RETURN in points else None,
        evaluated=_evaluated(points),
        description=tags.get(DESCRIPTION_TAG, ""),
        report=tags.get("ramreel.report"),
        flow_run_id=next((tags[tag] for tag in _FLOW_RUN_TAGS if tag in tags), None),
        start_ms=run.info.start_time,
        end_ms=run.info.end_time,
    )


def _state(run: Run) -> State:
    if run.info.status != "RUNNING":
        return _STATES.get(run.info.status, "stopped")
    is_training = run.data.tags.get(_KIND_TAG) == "training"
    # MLflow's status stays RUNNING when a process is killed.
    return "interrupted" if is_training and lease_host(run.data.tags) is None else "running"


def _evaluated(points: dict[str, tuple[int, float]]) -> Evaluated | None:
    if EVALUATED_RETURN not in points:
        return None
    step, mean = points[EVALUATED_RETURN]
    # The interval of an earlier checkpoint stays the latest one where that of this one is undefined.
    ends = {
        end: points[key][1]
        for end in ("low", "high")
        if (key := f"{EVALUATED_RETURN}_{end}") in points and points[key][0] == step
    }
    return Evaluated(step=step, mean=mean, **ends)
