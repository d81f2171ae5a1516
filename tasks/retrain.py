"""Retraining's side effects: whether it is time for one, where it begins, and who is told when it never helps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

from prefect import task
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import Field

from tasks.arcade.inputs.forms import RetrainSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.run import RunSettings
from tasks.execution.links import link
from tasks.notify import tell
from tasks.runs.lookup import evaluation_tag, wanted_evaluation
from tasks.store import Champion, Registry, Store, StoredCheckpoint, StoredRun, StoreError, open_store
from tasks.train import ROOT, last_good

_OF = "ramreel.retraining_of"
_VERSION = "ramreel.retraining_version"
_GIVEN_UP = "ramreel.given_up"


class Plan(Settings):
    """A retraining that is to be, or why there is none.

    Attributes:
        refused: why there is none; empty if there is one.
        run: its settings.
        begin: the checkpoint that it goes on from; none: from scratch.
        name: of its run.
        experiment: MLflow experiment.
        tags: of its run.
    """

    refused: str = ""
    run: RunSettings | None = None
    begin: StoredCheckpoint | None = None
    name: str = ""
    experiment: str = ""
    tags: Mapping[str, str] = Field(default_factory=dict)


@task(task_run_name="plan retraining of {settings.env_id}")
def plan(settings: RetrainSettings) -> Plan:
    """Decide from the retrainings so far, which MLflow knows, whether there is one, and where it begins.

    Raises:
        StoreError: the game has no champion.
    """
    store = open_store()
    champion = Registry(store.address).champion(settings.env_id)
    if champion is None:
        raise StoreError(f"{settings.env_id} has no champion: there is nothing to train again")
    # One that was started again after a crash is the same one.
    mine = flow_run.root_flow_run_id
    found = store.scan(store.runs_tagged(_OF, settings.env_id))
    earlier = [run for run in found if run.tags.get(ROOT) != mine]
    if refused := _refused(store, settings, champion, earlier):
        get_run_logger().warning(refused)
        return Plan(refused=refused)
    return _plan(store, settings, champion, len(earlier))


def _refused(store: Store, settings: RetrainSettings, champion: Champion, earlier: list[StoredRun]) -> str:
    for_it = [run for run in earlier if run.tags.get(_VERSION) == str(champion.version)]
    if len(for_it) >= settings.at_most:
        words = f"{len(for_it)} retrainings have not brought a better champion of {champion.env_id}: a person must look"
        if _GIVEN_UP not in champion.tags:
            tell(f"ramreel: {champion.env_id} is not trained again", f"{words}.\n{link(store, champion.run_id)}")
            Registry(store.address).note(champion, _GIVEN_UP, words)
        return words
    if earlier:
        over = max(run.start_ms for run in earlier) / 1000 + timedelta(hours=settings.cool_down_hours).total_seconds()
        if over > time.time():
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(over))
            return f"{champion.env_id} was trained again already; not before {when} once more"
    return ""


def _plan(store: Store, settings: RetrainSettings, champion: Champion, earlier: int) -> Plan:
    run = store.run(champion.run_id)
    assert run.settings is not None
    steps = settings.steps or run.settings.steps
    # The champion's checkpoint, else the newest before it, that can be gone on from.
    found = None if settings.cause == "game" else last_good(store, champion.run_id, champion.step)
    begin = found[0] if found else None
    seed = (run.settings.seed + earlier + 1) % 2**31
    update = {"seed": seed, "steps": steps + (begin.step if begin else 0)}
    where = f"from step {begin.step:,} of {run.name}" if begin else "from scratch"
    get_run_logger().info("training %s again %s", settings.env_id, where)
    return Plan(
        run=run.settings.model_copy(update=update),
        begin=begin,
        name=f"{run.settings.approach.name} seed {seed}, again {where}",
        experiment=run.experiment,
        tags={
            **evaluation_tag(wanted_evaluation(run)),
            _OF: settings.env_id,
            _VERSION: str(champion.version),
        },
    )
