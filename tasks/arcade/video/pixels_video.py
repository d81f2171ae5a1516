"""Evaluation of a checkpoint on RAM that plays from pictures, beside its play from the RAM itself, with a video."""

from __future__ import annotations

from pathlib import Path

from threadpoolctl import threadpool_limits

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.decoding.pixels_evaluation import PixelsEvaluation
from tasks.arcade.decoding.play_from_pixels import PixelSource
from tasks.arcade.decoding.play_returns import play_returns
from tasks.arcade.progress import OnRecording
from tasks.arcade.scores.pixels_returns import SOURCE_OF, SOURCES
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.video.checkpoint_video import evaluate_and_record
from tasks.arcade.video.recording_meter import RecordingMeter


def evaluate_from_pixels(
    directory: Path,
    digest: str,
    settings: EvaluationSettings,
    video: VideoSettings,
    folder: Path,
    atlas: Atlas | None,
    pixels: PixelSource,
    decoder: PixelSource | None,
    on_progress: OnRecording | None = None,
) -> PixelsEvaluation:
    """Play a checkpoint's evaluation episodes from pictures and from the RAM itself, and record one from pictures.

    Args:
        directory: Folder of the checkpoint.
        digest: Digest of the checkpoint.
        settings: Evaluation settings.
        video: Video settings.
        folder: Folder for the files, as `evaluate_and_record` has them.
        atlas: Atlas of the game; None: no outlines.
        pixels: How RAM is read from pictures.
        decoder: Decoder with which the policy plays in comparison; None: there is none.
        on_progress: Called about twice per second.

    Raises:
        CheckpointError: The checkpoint is damaged or belongs to another game.
        DecoderError: A decoder is damaged or belongs to another game.
        VideoError: A video could not be rendered; no file of it is left behind.
    """
    source, checkpoint = SOURCE_OF[pixels.method], files.read_checkpoint(directory, digest)
    others = [one for one in SOURCES if one != source and (one != "decoded" or decoder is not None)]
    meter = RecordingMeter(settings.episodes * len(others), on_progress)
    with threadpool_limits(1):
        returns = {other: play_returns(checkpoint, settings, other, decoder, meter.episode) for other in others}
    evaluation = evaluate_and_record(directory, digest, settings, video, folder, atlas, pixels, on_progress)
    returns[source] = tuple(evaluation.returns)
    return PixelsEvaluation(method=pixels.method, decoder=pixels.digest, evaluation=evaluation, returns=returns)
