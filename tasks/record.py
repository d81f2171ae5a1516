"""Recording's side effects: each checkpoint played and recorded in a process of its own, videos and figures to MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from tasks.arcade.atlas.model import Atlas
from tasks.arcade.emulator.emulator import rom_digest
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.checkpoint_video import VideoFiles, episode_name, evaluate_and_record
from tasks.execution.progress_sink import audience
from tasks.execution.retries import after_a_death
from tasks.execution.worker_processes import in_a_process
from tasks.runs.lookup import wanted_evaluation
from tasks.store import Store, StoredCheckpoint, StoreError, Video, newest_atlas, open_store, store_in_use


class RecordedCheckpoint(Settings):
    """A video in the store, and what it shows; paths are artifact paths within the run."""

    step: int
    path: str
    trace: str
    choice: str
    episode: int
    frames: int
    episode_return: float
    mean_return: float
    episodes: int
    distinct_episodes: int


@task(task_run_name="look for checkpoints")
def checkpoints_to_record(
    run_id: str, steps: tuple[int, ...] | None, again: bool, last: bool = False
) -> tuple[StoredCheckpoint, ...]:
    """The run's checkpoints that have no video or no figures yet, or all of them if asked for again.

    Raises:
        StoreError: the run has no checkpoint, or not the one that is asked for.
    """
    return _due(open_store(), run_id, steps, again, last)


def _due(
    store: Store, run_id: str, steps: tuple[int, ...] | None, again: bool, last: bool
) -> tuple[StoredCheckpoint, ...]:
    wanted = store.checkpoints_at(run_id, steps)[-1 if last else 0 :]
    done = {} if again else store.complete_videos(run_id)
    return tuple(checkpoint for checkpoint in wanted if checkpoint.step not in done)


@task(task_run_name="look for an atlas")
def find_atlas(run_id: str) -> Atlas | None:
    """The newest atlas of the game that a run plays; none: there is none, or none that can be used here."""
    store = store_in_use()
    settings = store.run(run_id).settings
    if settings is None:
        return None
    rom = settings.game.rom
    try:
        atlas = newest_atlas(store, rom)
    except StoreError as error:
        # A video without outlines is better than none.
        line = f"nothing is outlined: {error}"
        get_run_logger().warning(line)
        audience().said(line)
        return None
    return atlas if atlas and atlas.rom_sha256 == rom_digest(rom) else None


@task(
    task_run_name="video checkpoint at step {checkpoint.step}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=after_a_death,
)
def record_checkpoint(
    checkpoint: StoredCheckpoint, settings: EvaluationSettings | None, wanted: VideoSettings, atlas: Atlas | None
) -> RecordedCheckpoint:
    """Fetch a checkpoint, play it, video the episode that is wanted; videos, traces and figures go to the run.

    Args:
        checkpoint: the checkpoint.
        settings: how it is judged; none: as was asked for with its training.
        wanted: which episode is recorded, and what the video shows.
        atlas: for the outlines; none: there are none.

    Raises:
        CheckpointError: the checkpoint is damaged.
        VideoError: the video could not be made.
    """
    store = store_in_use()
    judged = settings or wanted_evaluation(store.run(checkpoint.run_id))
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        directory = store.fetch_checkpoint(checkpoint, folder / "checkpoint")
        evaluation = in_a_process(
            folder, evaluate_and_record, directory, checkpoint.digest, judged, wanted, folder, atlas
        )
        store.retract_evaluation(checkpoint.run_id, checkpoint.step)
        video = _save(store, checkpoint, evaluation, folder)
    store.log_metrics(checkpoint.run_id, evaluation.metrics(), checkpoint.step, checkpoint.model_id)
    # Last: what has an evaluation has everything.
    store.save_evaluation(checkpoint.run_id, evaluation)
    made = recorded(evaluation, video.mp4, video.trace)
    figures = f"return {made.episode_return:g}, {made.choice}, mean {made.mean_return:.1f}"
    line = f"step {made.step:,}: {figures}"
    get_run_logger().info(line)
    audience().said(f"recorded {line}")
    return made


def _save(store: Store, checkpoint: StoredCheckpoint, evaluation: Evaluation, folder: Path) -> Video:
    run_id, step = checkpoint.run_id, checkpoint.step
    if evaluation.video.episode == "all":
        for number in range(len(evaluation.episodes)):
            name = episode_name(number)
            files = VideoFiles.within(folder, name)
            store.save_video(run_id, step, files.mp4, files.trace, episode=name)
    files = VideoFiles.within(folder)
    return store.save_video(run_id, step, files.mp4, files.trace)


def recorded(evaluation: Evaluation, path: str, trace: str) -> RecordedCheckpoint:
    """A video's row, from its checkpoint's evaluation."""
    return RecordedCheckpoint(
        step=evaluation.step,
        path=path,
        trace=trace,
        choice=evaluation.choice,
        episode=evaluation.recorded,
        frames=evaluation.video_frames,
        episode_return=evaluation.episodes[evaluation.recorded].episode_return,
        mean_return=evaluation.mean_return,
        episodes=len(evaluation.episodes),
        distinct_episodes=evaluation.distinct_episodes,
    )


@task(task_run_name="list videos")
def show_videos(run_id: str, videos: tuple[RecordedCheckpoint, ...]) -> None:
    """A table of the videos, in Prefect's UI."""
    rows = [
        {
            "step": video.step,
            "mean return": round(video.mean_return, 2),
            "episodes": f"{video.episodes} ({video.distinct_episodes} distinct)",
            "return in the video": video.episode_return,
            "which episode": video.choice,
            "video": video.path,
        }
        for video in videos
    ]
    name = store_in_use().run(run_id).name
    create_table_artifact(rows, key=f"videos-{run_id[:8]}", description=f"Videos of {name}")


@task(task_run_name="find run {reference}")
def find_run(reference: str) -> str:
    """MLflow's id of a run that is named by it, a beginning of it, its name, or `latest`.

    Raises:
        StoreError: there is none, or more than one.
    """
    return open_store().resolve_run(reference)


@task(task_run_name="look for videos")
def videos_of(run_id: str) -> tuple[RecordedCheckpoint, ...]:
    """The run's videos, by step."""
    store = store_in_use()
    return tuple(
        recorded(store.fetch_evaluation(run_id, step), video.mp4, video.trace)
        for step, video in store.complete_videos(run_id).items()
    )


@task(task_run_name="note failure")
def note_failure(run_id: str, reason: str) -> None:
    """Keep on the run why something made of it failed; the training itself stays as it ended."""
    store_in_use().note_failure(run_id, reason)


@task(task_run_name="note that videos are there")
def clear_failure(run_id: str, last: bool) -> None:
    """Take back what is said of videos that failed, once no checkpoint, or not the last one, is without its video."""
    store = store_in_use()
    if not _due(store, run_id, None, again=False, last=last):
        store.clear_failure(run_id)
