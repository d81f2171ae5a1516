"""Task that reports a recorded checkpoint: its event, milestones and notifications."""

from __future__ import annotations

import json

from prefect import task
from prefect.artifacts import create_link_artifact

from tasks.arcade.episodes.milestones import Milestone, evaluated_checkpoint, new_milestones
from tasks.arcade.plural_forms import pluralize
from tasks.execution import events
from tasks.execution.links import mlflow_url, page_url
from tasks.notify import notify
from tasks.store import ChampionRegistry, StoredRun, open_store

_TAG_PREFIX = "ramreel.milestone."


@task(task_run_name="report milestones at step {step}")
def log_milestones(run_id: str, step: int) -> tuple[Milestone, ...]:
    """Emit that a checkpoint was recorded, and the milestones that its run reaches with it, each once per run.

    Returns:
        The new milestones.
    """
    store = open_store()
    run, evaluation, video = store.run(run_id), store.fetch_evaluation(run_id, step), store.videos(run_id)[step]
    assert run.settings is not None
    subject = (run_id, run.name, run.settings, step)
    best = ChampionRegistry(store.address).best_mean_return(run_id, excluded_step=step)
    evaluated = evaluated_checkpoint(evaluation, run.settings.game.rom, best)
    events.video_recorded(*subject, video.mp4, evaluated.mean.value)
    url = mlflow_url(store, run_id, video.mp4)
    page = page_url(store, run_id, video.mp4)
    if page.startswith("http"):
        text = f"{run.name}, step {step:,}"
        create_link_artifact(page, key=f"video-{run_id[:8]}", link_text=text, description=f"Video of {text}")
    new = new_milestones(evaluated, _reached(run))
    for milestone in new:
        details = {"step": step, "mean_return": round(evaluated.mean.value, 3), "video": video.mp4}
        # Tag first: after a crash in between, a milestone may go unreported but is never reported twice.
        store.set_tag(run_id, _TAG_PREFIX + milestone.name, json.dumps(details))
        events.milestone_reached(*subject, evaluated.mean.value, milestone)
    if new:
        game = run.settings.game.env_id
        lines = [f"{run.name} {milestone.message}." for milestone in new]
        figures = f"Step {step:,}, mean return {evaluated.mean} of {pluralize(evaluated.mean.n, 'episode')}."
        notify(f"ramreel: {game}: {new[0].message}", "\n".join([*lines, figures, f"Video: {url}"]))
    return new


def _reached(run: StoredRun) -> set[str]:
    return {key.removeprefix(_TAG_PREFIX) for key in run.tags if key.startswith(_TAG_PREFIX)}
