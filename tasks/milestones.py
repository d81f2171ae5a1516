"""What follows when a checkpoint is recorded: an event, milestones, a message to whoever wants to be told."""

from __future__ import annotations

import json

from prefect import task
from prefect.artifacts import create_link_artifact

from tasks.arcade.episodes.milestones import Milestone, facts, reached
from tasks.execution import events
from tasks.execution.links import link
from tasks.notify import tell
from tasks.store import Registry, StoredRun, open_store

_TAG = "ramreel.milestone."


@task(task_run_name="look at what step {step} reached")
def log_milestones(run_id: str, step: int) -> tuple[Milestone, ...]:
    """Say that a checkpoint is recorded, and which milestones its run reaches with it; each is reached once.

    Returns:
        The new milestones.
    """
    store = open_store()
    run, evaluation, video = store.run(run_id), store.fetch_evaluation(run_id, step), store.videos(run_id)[step]
    assert run.settings is not None
    about = (run_id, run.name, run.settings, step)
    best = Registry(store.address).best_mean(run_id, but=step)
    at = facts(evaluation, run.settings.game.rom, best)
    events.video_recorded(*about, video.mp4, at.mean.value)
    watch = link(store, run_id, video.mp4)
    if watch.startswith("http"):
        text = f"{run.name}, step {step:,}"
        create_link_artifact(watch, key=f"video-{run_id[:8]}", link_text=text, description=f"Video of {text}")
    new = reached(at, _before(run))
    for milestone in new:
        said = json.dumps({"step": step, "mean_return": round(at.mean.value, 3), "video": video.mp4})
        # The tag first: what is noted here is told never or once, but not twice.
        store.set_tag(run_id, _TAG + milestone.name, said)
        events.milestone_reached(*about, at.mean.value, milestone)
    if new:
        game = run.settings.game.env_id
        lines = [f"{run.name} {milestone.words}." for milestone in new]
        figures = f"Step {step:,}, mean return {at.mean} of {at.mean.n} episodes."
        tell(f"ramreel: {game}: {new[0].words}", "\n".join([*lines, figures, f"Video: {watch}"]))
    return new


def _before(run: StoredRun) -> set[str]:
    return {key.removeprefix(_TAG) for key in run.tags if key.startswith(_TAG)}
