"""Task of the retrain flow: whether a champion is retrained now, and from which checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from prefect import task
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from tasks.arcade.emulator.environment_ids import rom_path
from tasks.arcade.inputs.unattended import RetrainSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import RunSettings
from tasks.execution.links import mlflow_url
from tasks.notify import notify
from tasks.runs.lookup import ROOT_FLOW_RUN_TAG, evaluation_of, evaluation_tag
from tasks.runs.resume_point import last_valid_checkpoint
from tasks.store import (
    Champion,
    ChampionRegistry,
    MissingArtifactError,
    Store,
    StoredCheckpoint,
    StoreError,
    open_store,
)

_GAME_TAG = "ramreel.retraining_of"
_VERSION_TAG = "ramreel.retraining_version"
_GIVEN_UP_TAG = "ramreel.given_up"


class RetrainPlan(Settings):
    """A retraining run to start, or the reason to start none.

    Attributes:
        skip_reason: why no run is started; empty if one is.
        run: settings of the run.
        start_from: checkpoint that the run starts from; None: from scratch.
        name: name of the run.
        experiment: MLflow experiment of the run.
        tags: tags of the run.
    """

    skip_reason: str = ""
    run: RunSettings | None = None
    start_from: StoredCheckpoint | None = None
    name: str = ""
    experiment: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)


@task(task_run_name="plan retraining of {settings.env_id}")
def plan_retraining(settings: RetrainSettings) -> RetrainPlan:
    """Plan a retraining run, taking the earlier ones in MLflow into account.

    Raises:
        StoreError: the game has no champion.
        RomError: the ROM of the game cannot be read.
    """
    store = open_store()
    champion = ChampionRegistry(store.address).champion(settings.env_id)
    if champion is None:
        raise StoreError(f"{settings.env_id} has no champion to retrain")
    earlier = _earlier_runs(store, {_GAME_TAG: settings.env_id})
    if reason := _skip_reason(store, settings, champion, earlier):
        get_run_logger().warning(reason)
        return RetrainPlan(skip_reason=reason)
    return _plan(store, settings, champion, len(earlier))


def _earlier_runs(store: Store, tags: Mapping[str, str]) -> list[str]:
    """Return the ids of the runs with some tags, the latest first, without those of this flow run.

    A flow run that was started again after a crash does not count its own run as an earlier one.
    """
    own = store.runs_with({**tags, ROOT_FLOW_RUN_TAG: flow_run.root_flow_run_id})
    return [run_id for run_id in store.runs_with(tags) if run_id not in own]


def _skip_reason(store: Store, settings: RetrainSettings, champion: Champion, earlier: list[str]) -> str:
    attempts = _earlier_runs(store, {_GAME_TAG: settings.env_id, _VERSION_TAG: str(champion.version)})
    if len(attempts) >= settings.at_most:
        reason = f"{len(attempts)} retraining runs found no better champion of {champion.env_id}: check it manually"
        if _GIVEN_UP_TAG not in champion.tags:
            notify(
                f"ramreel: retraining of {champion.env_id} stopped",
                f"{reason}.\n{mlflow_url(store, champion.run_id)}",
            )
            ChampionRegistry(store.address).set_tag(champion, _GIVEN_UP_TAG, reason)
        return reason
    for last in store.iter_runs(earlier):
        end = last.start_ms / 1000 + timedelta(hours=settings.cool_down_hours).total_seconds()
        # A start in the future shows that a clock was wrong, not when the cool-down ends.
        if last.start_ms / 1000 <= time.time() < end:
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(end))
            return f"{champion.env_id} was retrained recently: the cool-down ends at {when}"
    return ""


def _plan(store: Store, settings: RetrainSettings, champion: Champion, n_earlier: int) -> RetrainPlan:
    run = store.run(champion.run_id)
    assert run.settings is not None
    rom_path(run.settings.game.rom)
    steps = settings.steps or run.settings.steps
    start_from = None if settings.cause == "game" else _resumable_checkpoint(store, run.settings, champion)
    seed = (run.settings.seed + n_earlier + 1) % 2**31
    update = {"seed": seed, "steps": steps + (start_from.step if start_from else 0)}
    where = f"from step {start_from.step:,} of {run.name}" if start_from else "from scratch"
    get_run_logger().info("retraining the champion of %s %s", settings.env_id, where)
    return RetrainPlan(
        run=run.settings.model_copy(update=update),
        start_from=start_from,
        name=f"{run.settings.approach.name} seed {seed}, retrained {where}",
        experiment=run.experiment,
        tags={
            **evaluation_tag(evaluation_of(run)),
            _GAME_TAG: settings.env_id,
            _VERSION_TAG: str(champion.version),
        },
    )


def _resumable_checkpoint(store: Store, settings: RunSettings, champion: Champion) -> StoredCheckpoint | None:
    """Return the champion's checkpoint, or the newest one before it, from which training can continue."""
    if not settings.approach.algorithm.learns:
        return None
    try:
        found = last_valid_checkpoint(store, champion.run_id, get_run_logger(), champion.step)
    except MissingArtifactError:
        return None
    return found[0] if found else None
