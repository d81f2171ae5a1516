"""Videos of checkpoints that played from pixels, and their evaluations, beside those from the RAM itself."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade.decoding.pixels_evaluation import PixelsEvaluation
from tasks.arcade.settings.base import parse_json
from tasks.arcade.settings.evaluation import PixelMethod
from tasks.store.artifact_paths import (
    PIXELS_EVALUATIONS,
    VIDEOS,
    evaluated_steps,
    pair_pixels_episodes,
    pixels_evaluation_path,
    pixels_name,
    step_name,
    video_at,
)
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.values import StoredVideo
from tasks.store.videos import VideoStore


@dataclass(frozen=True)
class PixelsVideoStore(VideoStore):
    """Videos of checkpoints that played from pixels, and their evaluations."""

    def save_pixels_video(
        self, run_id: str, step: int, method: PixelMethod, mp4: Path, trace: Path, *, episode: str | None = None
    ) -> StoredVideo:
        """Save a checkpoint's video from pixels, or that of one of its episodes, and its trace; see `save_video`."""
        return self.save_video(run_id, step, mp4, trace, episode=pixels_name(method, episode))

    @raises_store_error
    def pixels_videos(self, run_id: str, step: int, method: PixelMethod) -> list[StoredVideo]:
        """Return the videos of a checkpoint from pixels, the checkpoint's own first, then those of its episodes."""
        return pair_pixels_episodes(step, method, self._files(run_id, f"{VIDEOS}/{step_name(step)}"))

    def complete_pixels_videos(self, run_id: str, method: PixelMethod) -> dict[int, StoredVideo]:
        """Return the checkpoints' own videos from pixels that have an evaluation, by step in ascending order."""
        own = {step: video_at(step, pixels_name(method)) for step in self.pixels_evaluations(run_id, method)}
        return {step: video for step, video in own.items() if video in self.pixels_videos(run_id, step, method)}

    def save_pixels_evaluation(self, run_id: str, evaluation: PixelsEvaluation) -> None:
        """Save the evaluation of a checkpoint from pixels, replacing the one at the same step."""
        path = pixels_evaluation_path(evaluation.evaluation.step, evaluation.method)
        self.log_text(run_id, evaluation.model_dump_json(indent=2), path)

    @raises_store_error
    def pixels_evaluations(self, run_id: str, method: PixelMethod) -> tuple[int, ...]:
        """Return the steps of the checkpoints that were evaluated from pixels, in ascending order."""
        return evaluated_steps(self._files(run_id, f"{PIXELS_EVALUATIONS}/{method}"))

    def fetch_pixels_evaluation(self, run_id: str, step: int, method: PixelMethod) -> PixelsEvaluation:
        """Download the evaluation of a checkpoint from pixels.

        Raises:
            StoreError: it is missing, or is not an evaluation.
        """
        path = pixels_evaluation_path(step, method)
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            text = self.fetch_artifact(run_id, path, Path(folder)).read_bytes()
        try:
            return parse_json(PixelsEvaluation, text)
        except ValueError as error:
            raise StoreError(f"{path} of run {run_id} is not an evaluation: {error}") from None
