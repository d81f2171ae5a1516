"""Tasks of the record flow: checkpoints to record, their videos and evaluations in MLflow, artifacts in Prefect."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.decoding.play_from_pixels import PixelSource
from tasks.arcade.emulator.environment_ids import rom_digest, rom_path
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.progress import CheckpointProgress, RecordingProgress
from tasks.arcade.scores.pixels_returns import describe_returns
from tasks.arcade.settings.evaluation import EvaluationSettings, PixelMethod, VideoSettings
from tasks.arcade.video.checkpoint_video import VideoFiles, episode_stem, evaluate_and_record
from tasks.arcade.video.pixels_video import evaluate_from_pixels
from tasks.execution.links import page_url
from tasks.execution.progress_sink import current_sink
from tasks.execution.retries import retry_on_process_death
from tasks.execution.worker_processes import run_with_progress
from tasks.runs.lookup import evaluation_of
from tasks.runs.pixels import PixelsRequest, fetch_source, request_pixels
from tasks.runs.recorded import (
    RecordedCheckpoint,
    recorded_checkpoint,
    recorded_checkpoints,
    recorded_from_pixels,
    unrecorded,
)
from tasks.runs.run_description import describe_training
from tasks.store import (
    StoredCheckpoint,
    StoredVideo,
    StoreError,
    newest_atlas,
    open_store,
    store_in_use,
)


@task(task_run_name="find checkpoints to record")
def checkpoints_to_record(
    run_id: str,
    steps: tuple[int, ...] | None,
    again: bool,
    last: bool = False,
    pixels: PixelMethod | None = None,
) -> tuple[StoredCheckpoint, ...]:
    """Return the run's checkpoints without a video or an evaluation, from pixels if so, or all of them with `again`.

    Raises:
        StoreError: the run has no checkpoint, or not the requested one.
        RomError: the ROM of its game cannot be read.
    """
    store = open_store()
    if run := store.run(run_id).settings:
        rom_path(run.game.rom)
    return unrecorded(store, run_id, steps, again, last, pixels)


@task(task_run_name="find decoder")
def find_pixels(run_id: str, method: PixelMethod, decoder: str | None) -> PixelsRequest:
    """Return how the run's checkpoints play from pixels.

    Raises:
        StoreError: the run's policy observes pixels, or there is no decoder.
        DecoderError: the decoder is damaged, or of another game.
    """
    return request_pixels(open_store(), run_id, method, decoder)


@task(task_run_name="find atlas")
def find_atlas(run_id: str) -> Atlas | None:
    """Return the newest atlas of the run's game; None if there is none, or none of the installed ROM."""
    store = store_in_use()
    settings = store.run(run_id).settings
    if settings is None:
        return None
    rom = settings.game.rom
    try:
        atlas = newest_atlas(store, rom)
    except StoreError as error:
        # A video without outlines is better than none.
        line = f"videos have no outlines: {error}"
        get_run_logger().warning(line)
        current_sink().log(line)
        return None
    return atlas if atlas and atlas.rom_sha256 == rom_digest(rom) else None


@task(
    task_run_name="record checkpoint at step {checkpoint.step}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=retry_on_process_death,
)
def record_checkpoint(
    checkpoint: StoredCheckpoint,
    evaluation: EvaluationSettings | None,
    video: VideoSettings,
    atlas: Atlas | None,
    number: int = 1,
    total: int = 1,
) -> RecordedCheckpoint:
    """Evaluate a checkpoint and record an episode; log videos, traces and metrics to its run.

    Args:
        checkpoint: the checkpoint.
        evaluation: evaluation settings that differ from those of the training run.
        video: which episode is recorded, and what the video shows.
        atlas: atlas for the outlines; None: no outlines.
        number: which of the checkpoints to record it is, from 1.
        total: how many they are.

    Raises:
        CheckpointError: the checkpoint is damaged.
        VideoError: the video could not be encoded.
    """
    store = store_in_use()
    run = store.run(checkpoint.run_id)
    settings, show_progress = evaluation_of(run, evaluation), _progress_display(run.name, number, total)
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        directory = store.fetch_checkpoint(checkpoint, folder / "checkpoint")
        arguments = (directory, checkpoint.digest, settings, video, folder, atlas)
        result = run_with_progress(folder, show_progress, evaluate_and_record, *arguments)
        store.discard_evaluation(checkpoint.run_id, checkpoint.step)
        stored = _save_videos(partial(store.save_video, checkpoint.run_id, checkpoint.step), result, folder)
        if result.video.highlight is not None:
            store.save_highlight(checkpoint.run_id, checkpoint.step, VideoFiles.in_folder(folder).highlight)
    store.log_metrics(checkpoint.run_id, result.metrics(), checkpoint.step, checkpoint.model_id)
    # Last: a checkpoint with an evaluation has everything else.
    store.save_evaluation(checkpoint.run_id, result)
    recorded = recorded_checkpoint(result, stored.mp4, stored.trace)
    figures = f"return {recorded.episode_return:g}, {recorded.choice}, mean {recorded.mean_return:.1f}"
    line = f"step {recorded.step:,}: {figures}"
    get_run_logger().info(line)
    show_progress(None)
    current_sink().log(f"{run.name}: recorded {line}")
    return recorded


@task(
    task_run_name="record checkpoint at step {checkpoint.step} from pixels",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=retry_on_process_death,
)
def record_checkpoint_from_pixels(
    checkpoint: StoredCheckpoint,
    evaluation: EvaluationSettings | None,
    video: VideoSettings,
    atlas: Atlas | None,
    pixels: PixelsRequest,
    number: int = 1,
    total: int = 1,
) -> RecordedCheckpoint:
    """Play a checkpoint on RAM from pixels and record an episode, beside its play from the RAM itself.

    Args:
        checkpoint: the checkpoint.
        evaluation: evaluation settings that differ from those of the training run.
        video: which episode is recorded, and what the video shows.
        atlas: atlas for the outlines; None: no outlines.
        pixels: how RAM is read from pixels.
        number: which of the checkpoints to record it is, from 1.
        total: how many they are.

    Raises:
        CheckpointError: the checkpoint is damaged.
        DecoderError: the decoder is damaged.
        VideoError: the video could not be encoded.
    """
    store = store_in_use()
    run = store.run(checkpoint.run_id)
    settings, show_progress = evaluation_of(run, evaluation), _progress_display(run.name, number, total)
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        directory = store.fetch_checkpoint(checkpoint, folder / "checkpoint")
        decoder = fetch_source(store, pixels.decoder, folder / "decoder") if pixels.decoder else None
        source = decoder if decoder and pixels.method == "decode" else PixelSource(pixels.method)
        arguments = (directory, checkpoint.digest, settings, video, folder, atlas)
        result = run_with_progress(folder, show_progress, evaluate_from_pixels, *arguments, source, decoder)
        save = partial(store.save_pixels_video, checkpoint.run_id, checkpoint.step, pixels.method)
        stored = _save_videos(save, result.evaluation, folder)
    store.log_metrics(checkpoint.run_id, result.metrics(), checkpoint.step, checkpoint.model_id)
    # Last: a checkpoint with an evaluation has everything else.
    store.save_pixels_evaluation(checkpoint.run_id, result)
    for line in (f"step {checkpoint.step:,}", *describe_returns(result.returns)):
        get_run_logger().info(line)
    show_progress(None)
    mean = result.evaluation.mean_return
    current_sink().log(f"{run.name}: recorded step {checkpoint.step:,} from pixels: mean return {mean:.1f}")
    return recorded_from_pixels(result, stored.mp4, stored.trace)


def _progress_display(name: str, number: int, total: int) -> Callable[[RecordingProgress | None], None]:
    """Return a function that shows the progress of one of a run's checkpoints; None: it is recorded."""

    def show(progress: RecordingProgress | None) -> None:
        current_sink().update_recording(name, CheckpointProgress(number, total, progress))

    return show


def _save_videos(save: Callable[..., StoredVideo], evaluation: Evaluation, folder: Path) -> StoredVideo:
    """Save the videos of a folder by a function of MP4, trace and, if it is one of all, the episode's name."""
    if evaluation.video.episode == "all":
        for number in range(len(evaluation.episodes)):
            name = episode_stem(number)
            files = VideoFiles.in_folder(folder, name)
            save(files.mp4, files.trace, episode=name)
    files = VideoFiles.in_folder(folder)
    return save(files.mp4, files.trace)


@task(task_run_name="list videos")
def create_videos_table(run_id: str, videos: tuple[RecordedCheckpoint, ...], pixels: PixelMethod | None = None) -> None:
    """Create an artifact with a table of the run's videos, and links to them."""
    store = store_in_use()
    name = store.run(run_id).name + (f" from pixels ({pixels})" if pixels else "")
    rows = [
        f"| {video.step:,} | {video.mean_return:.2f} | {video.episodes} ({video.distinct_episodes} distinct) "
        f"| [return {video.episode_return:g}, {video.choice}]({page_url(store, run_id, video.path)}) |"
        for video in videos
    ]
    head = ["| step | mean return | episodes | video |", "| --: | --: | :-- | :-- |"]
    returns = [f"- step {video.step:,}: {line}" for video in videos for line in describe_returns(video.returns)]
    lines = [f"# Videos of {name}", "", f"[Run in MLflow]({page_url(store, run_id)})", "", *head, *rows, "", *returns]
    key = f"videos-{run_id[:8]}" + (f"-{pixels}" if pixels else "")
    create_markdown_artifact("\n".join([*lines, ""]), key=key, description=f"Videos of {name}")


@task(task_run_name="find videos")
def list_videos(run_id: str, pixels: PixelMethod | None = None) -> tuple[RecordedCheckpoint, ...]:
    """Return the run's videos by step: those from RAM, or those from pixels by a method."""
    return recorded_checkpoints(store_in_use(), run_id, pixels)


@task(task_run_name="describe run {run_id}")
def describe_recorded_run(run_id: str) -> None:
    """Describe the run in MLflow by its evaluation and its last video."""
    describe_training(store_in_use(), run_id)


@task(task_run_name="note failure")
def note_failure(run_id: str, reason: str) -> None:
    """Store on the run why recording failed; the run's own status stays as it is."""
    store_in_use().set_failure_reason(run_id, reason)


@task(task_run_name="clear failure")
def clear_failure(run_id: str, last: bool, pixels: PixelMethod | None = None) -> None:
    """Remove the reason of a former failure once every checkpoint, or the last one with `last`, has its video."""
    store = store_in_use()
    if not unrecorded(store, run_id, None, again=False, last=last, pixels=pixels):
        store.clear_failure_reason(run_id)
