"""Tasks of the learning benchmark: existing runs, and the score of a run."""

from __future__ import annotations

from prefect import task

from tasks.arcade.inputs.forms import TrainSettings
from tasks.arcade.inputs.resolve import run_settings
from tasks.arcade.report.learning_table import LearningScore, frames_of, steps_to_milestones
from tasks.store import open_store


@task(task_run_name="find {settings.title}")
def find_existing_run(settings: TrainSettings) -> tuple[str | None, bool]:
    """Return the run of the same name and settings, and whether it is finished, so that nothing is trained twice."""
    store = open_store()
    resolved = run_settings(settings)
    for run in store.iter_runs(store.runs_named(settings.name or "")):
        if run.settings == resolved:
            return run.run_id, run.status == "FINISHED"
    return None, False


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
        reached=steps_to_milestones(run.settings.game.rom, store.history(run_id, "rollout/ep_rew_mean")),
    )
