"""Record flow: evaluate checkpoints on fresh seeds and record a video of each, with its trace."""

from __future__ import annotations

from contextlib import suppress

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.forms import RecordSettings
from tasks.arcade.plural_forms import pluralize
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
    find_pixels,
    list_videos,
    note_failure,
    record_checkpoint,
    record_checkpoint_from_pixels,
)
from tasks.runs.recorded import RecordedCheckpoint
from tasks.store import StoreError, one_line, open_store


class RecordedRun(Settings):
    """The videos of a run.

    Attributes:
        videos: all videos of the run, or all from pixels by the method.
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
        super().__init__(f"{len(failed)} of {pluralize(total, 'video')} failed: {reasons}")


@flow(
    name="record",
    flow_run_name=named_after_runs("record"),
    # Videos are made in worker processes; the threads only wait for them.
    task_runner=ThreadPoolTaskRunner(max_workers=cores()),  # type: ignore[arg-type]
)
def record(settings: RecordSettings) -> RecordedRun:
    """Record every checkpoint that has no video yet, from pixels if so set, in parallel on all cores.

    Raises:
        StoreError: no run matches, or it has no checkpoint, or none that can play from pixels.
        DecoderError: the decoder is damaged, or of another game.
        RecordError: some checkpoints could not be recorded; the others were.
    """
    refuse_crash_loop()
    run_id, method = resolve_run(settings.run), settings.method if settings.from_pixels else None
    option = " --from-pixels" if method else ""
    again = f"`ramreel record {run_id[:8]}{option}` records the other checkpoints"
    with when_stopped(f"stopped recording run {run_id}: {again}"), open_store().recording_lease(run_id):
        decoder = resolve_run(settings.decoder) if settings.decoder else None
        pixels = find_pixels(run_id, settings.method, decoder) if settings.from_pixels else None
        checkpoints = checkpoints_to_record(run_id, settings.steps, settings.again, settings.last, method)
        atlas = find_atlas(run_id) if checkpoints and settings.video.panel else None
        futures: dict[int, PrefectFuture[RecordedCheckpoint]] = {}
        for number, checkpoint in enumerate(checkpoints, 1):
            common = (checkpoint, settings.evaluation, settings.video, atlas)
            place = (number, len(checkpoints))
            futures[checkpoint.step] = (
                record_checkpoint_from_pixels.submit(*common, pixels, *place)
                if pixels
                else record_checkpoint.submit(*common, *place)
            )
        failed = dict[int, str]()
        for step, future in futures.items():
            if reason := failure_reason(future):
                failed[step] = reason
            elif pixels is None:
                # While later checkpoints play: a recorded checkpoint is not recorded again if this process is killed.
                log_milestones(run_id, step)
    videos = list_videos(run_id, method)
    create_videos_table(run_id, videos, method)
    if failed:
        error = RecordError(run_id, videos, failed, len(checkpoints))
        # A store that cannot take the reason must not hide it: a full disk fails twice.
        with suppress(StoreError):
            note_failure(run_id, str(error))
        raise error
    clear_failure(run_id, settings.last, method)
    describe_recorded_run(run_id)
    return RecordedRun(run_id=run_id, videos=videos, made=tuple(futures), outlined=atlas is not None)


def failure_reason(future: PrefectFuture[RecordedCheckpoint]) -> str | None:
    """Return in one line why a video failed, or None."""
    outcome = future.result(raise_on_failure=False)
    return one_line(outcome) if isinstance(outcome, Exception) else None
