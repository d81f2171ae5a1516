"""Reel flow: a video of a run's learning progress, with every checkpoint playing the same seeded episode."""

from __future__ import annotations

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.arcade.inputs.forms import ReelSettings
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.video.reel_outputs import PART_NAMES
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import named_after_runs
from tasks.reel import ReelResult, make_part, play_checkpoint, select, write_manifest


@flow(
    name="reel",
    flow_run_name=named_after_runs("reel"),
    # Episodes are played and rendered in worker processes; the threads only wait for them.
    task_runner=ThreadPoolTaskRunner(max_workers=cores()),  # type: ignore[arg-type]
)
def reel(settings: ReelSettings) -> ReelResult:
    """Make a reel of one run, or of two side by side.

    Raises:
        StoreError: no run matches a reference, or the runs cannot be shown in a reel.
        CheckpointError: a checkpoint is damaged.
        VideoError: a video could not be encoded.
    """
    refuse_crash_loop()
    selection = select(settings.runs)
    playing = [
        play_checkpoint.submit(checkpoint, number, selection.run_id, selection.folder, settings)
        for number, side in enumerate(selection.sides)
        for checkpoint in side.checkpoints
    ]
    played = tuple(future.result() for future in playing)
    rendering = {part: make_part.submit(part, selection, played, settings) for part in PART_NAMES}
    return write_manifest(selection, played, {part: future.result() for part, future in rendering.items()}, settings)
