"""Video a run's checkpoints: each is reloaded, played on fresh seeds in the same emulator, recorded with its trace."""

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
from tasks.execution.flow_run_names import titled
from tasks.milestones import log_milestones
from tasks.record import (
    RecordedCheckpoint,
    checkpoints_to_record,
    clear_failure,
    find_atlas,
    find_run,
    note_failure,
    record_checkpoint,
    show_videos,
    videos_of,
)
from tasks.store import StoreError, one_line, open_store


class RecordedRun(Settings):
    """The videos of a run; `outlined` says whether there was an atlas for those that were made."""

    run_id: str
    videos: tuple[RecordedCheckpoint, ...]
    made: tuple[int, ...]
    outlined: bool


class RecordError(RamreelError):
    """Some checkpoints could not be recorded; the others are. `videos`, all of the run's, and `failed` say which."""

    def __init__(self, run_id: str, videos: tuple[RecordedCheckpoint, ...], failed: dict[int, str], due: int) -> None:
        self.run_id, self.videos, self.failed = run_id, videos, failed
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in failed.items())
        super().__init__(f"{len(failed)} of {due} videos failed: {reasons}")


@flow(
    name="record",
    flow_run_name=titled("record"),
    # The videos are made in processes; the threads only wait for them.
    task_runner=ThreadPoolTaskRunner(max_workers=cores()),  # type: ignore[arg-type]
)
def record(settings: RecordSettings) -> RecordedRun:
    """Video every checkpoint that has no video yet, side by side on all cores.

    Raises:
        StoreError: there is no such run, or it has no checkpoint.
        RecordError: some checkpoints could not be recorded; the others are.
    """
    refuse_crash_loop()
    run_id = find_run(settings.run)
    with open_store().recording(run_id):
        due = checkpoints_to_record(run_id, settings.steps, settings.again, settings.last)
        atlas = find_atlas(run_id) if due and settings.video.panel else None
        futures = {
            checkpoint.step: record_checkpoint.submit(checkpoint, settings.evaluation, settings.video, atlas)
            for checkpoint in due
        }
        failed = dict[int, str]()
        for step, future in futures.items():
            if reason := why_it_failed(future):
                failed[step] = reason
            else:
                # At once, while later ones play: what a recording that is killed has recorded is not recorded again.
                log_milestones(run_id, step)
    videos = videos_of(run_id)
    show_videos(run_id, videos)
    if failed:
        error = RecordError(run_id, videos, failed, len(due))
        # A store that cannot take the reason must not hide it: a full disk fails twice.
        with suppress(StoreError):
            note_failure(run_id, str(error))
        raise error
    clear_failure(run_id, settings.last)
    return RecordedRun(run_id=run_id, videos=videos, made=tuple(futures), outlined=atlas is not None)


def why_it_failed(future: PrefectFuture[RecordedCheckpoint]) -> str | None:
    """Why a video failed, in one line; none if it did not."""
    outcome = future.result(raise_on_failure=False)
    return one_line(outcome) if isinstance(outcome, Exception) else None
