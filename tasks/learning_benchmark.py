"""The learning benchmark's side effects: runs found again in the store, and what they came to."""

from __future__ import annotations

from prefect import task

from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.report.learning_table import LearningScore, first_reached
from tasks.store import open_store


@task(task_run_name="look for {settings.title}")
def find_training(settings: TrainSettings) -> tuple[str | None, bool]:
    """A run of the same name and the very same settings, and whether it is finished; so that nothing is done twice."""
    store = open_store()
    wanted = run_settings(settings)
    for run in store.scan(store.runs_named(settings.name or "")):
        if run.settings == wanted:
            return run.run_id, run.status == "FINISHED"
    return None, False


@task(task_run_name="read {run_id}")
def learning_score(run_id: str) -> LearningScore:
    """What a training came to, from its last evaluated checkpoint and its training curve."""
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
        episodes=len(evaluation.episodes),
        final=evaluation.metrics()["eval/mean_reward"],
        reached=first_reached(run.settings.game.rom, store.history(run_id, "rollout/ep_rew_mean")),
    )
