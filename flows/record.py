"""Record flow: evaluate checkpoints on fresh seeds and record a video of each, with its trace."""

from __future__ import annotations

from contextlib import suppress

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.forms import RecordSettings
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import named_after_runs
from tasks.execution.resolve_run import resolve_run
from tasks.execution.run_status import when_stopped
from tasks.milestones import log_milestones
from tasks.record import (
    checkpoints_to_record,
    clear_failure,
    create_videos_table,
    describe_recorded_run,
    find_atlas,
    list_videos,
    note_failure,
    record_checkpoint,
)
from tasks.runs.recorded import RecordedCheckpoint
from tasks.store import StoreError, one_line, open_store


class RecordedRun(Settings):
    """The videos of a run.

    Attributes:
        videos: all videos of the run.
        made: steps of the videos that were made now.
        outlined: whether these have outlines from an atlas.
    """

    run_id: str
    videos: tuple[RecordedCheckpoint, ...]
    made: tuple[int, ...]
    outlined: bool


class RecordError(RamreelError):
    """Some checkpoints could not be recorded; the others were.

    Attributes:
        videos: all videos of the run.
        failed: reasons by step.
    """

    def __init__(self, run_id: str, videos: tuple[RecordedCheckpoint, ...], failed: dict[int, str], total: int) -> None:
        self.run_id, self.videos, self.failed = run_id, videos, failed
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in failed.items())
        super().__init__(f"{len(failed)} of {total} videos failed: {reasons}")


@flow(
    name="record",
    flow_run_name=named_after_runs("record"),
    # Videos are made in worker processes; the threads only wait for them.
    task_runner=ThreadPoolTaskRunner(max_workers=cores()),  # type: ignore[arg-type]
)
def record(settings: RecordSettings) -> RecordedRun:
    """Record every checkpoint that has no video yet, in parallel on all cores.

    Raises:
        StoreError: no run matches, or it has no checkpoint.
        RecordError: some checkpoints could not be recorded; the others were.
    """
    refuse_crash_loop()
    run_id = resolve_run(settings.run)
    again = f"`ramreel record {run_id[:8]}` records the other checkpoints"
    with when_stopped(f"stopped recording run {run_id}: {again}"), open_store().recording_lease(run_id):
        checkpoints = checkpoints_to_record(run_id, settings.steps, settings.again, settings.last)
        atlas = find_atlas(run_id) if checkpoints and settings.video.panel else None
        futures = {
            checkpoint.step: record_checkpoint.submit(
                *(checkpoint, settings.evaluation, settings.video, atlas), number=number, total=len(checkpoints)
            )
            for number, checkpoint in enumerate(checkpoints, 1)
        }
        failed = dict[int, str]()
        for step, future in futures.items():
            if reason := failure_reason(future):
                failed[step] = reason
            else:
                # While later checkpoints play: a recorded checkpoint is not recorded again if this process is killed.
                log_milestones(run_id, step)
    videos = list_videos(run_id)
    create_videos_table(run_id, videos)
    if failed:
        error = RecordError(run_id, videos, failed, len(checkpoints))
        # A store that cannot take the reason must not hide it: a full disk fails twice.
        with suppress(StoreError):
            note_failure(run_id, str(error))
        raise error
    clear_failure(run_id, settings.last)
    describe_recorded_run(run_id)
    return RecordedRun(run_id=run_id, videos=videos, made=tuple(futures), outlined=atlas is not None)


def failure_reason(future: PrefectFuture[RecordedCheckpoint]) -> str | None:
    """Return in one line why a video failed, or None."""
    outcome = future.result(raise_on_failure=False)
    return one_line(outcome) if isinstance(outcome, Exception) else None
