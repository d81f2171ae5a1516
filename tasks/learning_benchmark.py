"""Tasks of the learning benchmark: existing runs, and the score of a run."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.report.learning_table import LearningScore, frames_of, steps_to_milestones
from tasks.arcade.settings.base import Settings
from tasks.execution.machine import MACHINE_TAG
from tasks.runs.lookup import ROOT_FLOW_RUN_TAG
from tasks.store import open_store


class ExistingRun(Settings):
    """A training run of the benchmark.

    Attributes:
        finished: whether it was trained to its last step.
        own: whether this flow run or one of its child runs started it.
    """

    run_id: str
    finished: bool
    own: bool


@task(task_run_name="find {settings.title}", cache_policy=NO_CACHE)
def find_existing_run(settings: TrainSettings) -> ExistingRun | None:
    """Return the run of the same name and settings, so that nothing is trained twice; None if there is none."""
    store = open_store()
    resolved = run_settings(settings)
    for run in store.iter_runs(store.runs_named(settings.run_name)):
        if run.settings == resolved:
            own = run.tags.get(ROOT_FLOW_RUN_TAG) == flow_run.root_flow_run_id
            return ExistingRun(run_id=run.run_id, finished=run.status == "FINISHED", own=own)
    return None


@task(task_run_name="score {run_id}")
def learning_score(run_id: str) -> LearningScore:
    """Return the score of a run, from its last evaluated checkpoint and its training curve."""
    store = open_store()
    run = store.run(run_id)
    assert run.settings is not None
    evaluation = store.fetch_evaluation(run_id, store.evaluations(run_id)[-1])
    return LearningScore(
        env_id=run.settings.game.env_id,
        rom=run.settings.game.rom,
        approach=run.settings.approach.name,
        seed=run.settings.seed,
        run_id=run_id,
        steps=evaluation.step,
        frames=frames_of(evaluation.step, run.settings.game),
        episodes=len(evaluation.episodes),
        final=evaluation.metrics()["eval/mean_reward"],
        commit=run.tags.get("ramreel.commit"),
        machine=run.tags.get(MACHINE_TAG),
        date=datetime.fromtimestamp(run.end_ms / 1000, UTC).date() if run.end_ms else None,
        reached=steps_to_milestones(run.settings.game.rom, store.history(run_id, "rollout/ep_rew_mean")),
    )
