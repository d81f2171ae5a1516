"""Video a run's learning: every checkpoint plays the same seeded start, one after the other and side by side."""

from __future__ import annotations

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.arcade.inputs.forms import ReelSettings
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.video.reel_outputs import PARTS
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import titled
from tasks.reel import MadeReel, choose, keep, make_part, play_checkpoint


@flow(
    name="reel",
    flow_run_name=titled("reel"),
    # Games are played and recorded in processes; the threads only wait for them.
    task_runner=ThreadPoolTaskRunner(max_workers=cores()),  # type: ignore[arg-type]
)
def reel(settings: ReelSettings) -> MadeReel:
    """Make a reel of one run, or of two side by side.

    Raises:
        StoreError: a run is not there, or cannot be in a reel.
        CheckpointError: a checkpoint is damaged.
        VideoError: a video could not be made.
    """
    refuse_crash_loop()
    found = choose(settings.runs)
    playing = [
        play_checkpoint.submit(checkpoint, side, found.run_id, found.folder, settings)
        for side, one in enumerate(found.sides)
        for checkpoint in one.checkpoints
    ]
    played = tuple(future.result() for future in playing)
    making = {part: make_part.submit(part, found, played, settings) for part in PARTS}
    return keep(found, played, {part: future.result() for part, future in making.items()}, settings)
