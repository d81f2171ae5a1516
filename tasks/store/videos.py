"""Videos and evaluations of checkpoints; a video is complete once its evaluation, which is saved last, exists."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.settings.base import parse_json
from tasks.store.artifact_paths import (
    EVALUATIONS,
    VIDEOS,
    evaluated_steps,
    evaluation_path,
    highlight_path,
    live_name,
    pair_episodes,
    pair_live_episodes,
    pair_videos,
    step_name,
    steps_in,
    video_at,
)
from tasks.store.artifacts import ArtifactStore
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.values import StoredVideo


@dataclass(frozen=True)
class VideoStore(ArtifactStore):
    """Videos of runs, and the evaluations of the checkpoints in them."""

    @raises_store_error
    def save_video(
        self,
        run_id: str,
        step: int,
        mp4: Path,
        trace: Path,
        *,
        episode: str | None = None,
    ) -> StoredVideo:
        """Save a video and its trace, replacing those at the same step.

        Args:
            run_id: MLflow's run id.
            step: step of the recorded checkpoint.
            mp4: local file of the video; its name does not matter.
            trace: local file of its trace, likewise.
            episode: name of the episode, if this is not the checkpoint's own video.
        """
        video = video_at(step, episode)
        self._log_files(run_id, {video.trace: trace, video.mp4: mp4})
        return video

    @raises_store_error
    def save_highlight(self, run_id: str, step: int, mp4: Path) -> str:
        """Save the highlight of a checkpoint's video, and return its artifact path."""
        path = highlight_path(step)
        self._log_files(run_id, {path: mp4})
        return path

    def _log_files(self, run_id: str, files: Mapping[str, Path]) -> None:
        """Log local files, whose names do not matter, at artifact paths."""
        # MLflow keeps a file's own name; a link gives it another one without a copy.
        with tempfile.TemporaryDirectory() as links:
            for path, source in files.items():
                link = Path(links) / Path(path).name
                link.unlink(missing_ok=True)
                link.symlink_to(source.absolute())
                self._client.log_artifact(run_id, str(link), str(Path(path).parent))

    @raises_store_error
    def videos(self, run_id: str) -> dict[int, StoredVideo]:
        """Return the checkpoints' videos of a run by step, in ascending order; videos without a trace are skipped."""
        return pair_videos(self._files(run_id, VIDEOS))

    def video_folders(self, run_id: str) -> tuple[str, ...]:
        """Return the artifact folders of the checkpoints' videos of a run; empty if it has none."""
        return tuple(dict.fromkeys(str(PurePosixPath(video.mp4).parent) for video in self.videos(run_id).values()))

    @raises_store_error
    def episode_videos(self, run_id: str, step: int) -> list[StoredVideo]:
        """Return the videos of single episodes of a checkpoint; empty unless all episodes were recorded."""
        return pair_episodes(step, self._files(run_id, f"{VIDEOS}/{step_name(step)}"))

    def save_live_video(self, run_id: str, step: int, mp4: Path, trace: Path, *, seed: int, digest: str) -> StoredVideo:
        """Save an episode that was kept from a live view of a checkpoint; the same episode is saved once.

        Args:
            run_id: MLflow's run id.
            step: step of the checkpoint.
            mp4: local file of the video; its name does not matter.
            trace: local file of its trace, likewise.
            seed: seed of the episode.
            digest: digest of its RAM.
        """
        return self.save_video(run_id, step, mp4, trace, episode=live_name(seed, digest))

    @raises_store_error
    def live_videos(self, run_id: str) -> tuple[StoredVideo, ...]:
        """Return the videos of a run that were kept from live views, by step and name."""
        steps = steps_in(self._folders(run_id, VIDEOS))
        return tuple(
            video
            for step in steps
            for video in pair_live_episodes(step, self._files(run_id, f"{VIDEOS}/{step_name(step)}"))
        )

    def save_evaluation(self, run_id: str, evaluation: Evaluation) -> None:
        """Save the evaluation of a checkpoint, replacing the one at the same step."""
        self.log_text(run_id, evaluation.model_dump_json(indent=2), evaluation_path(evaluation.step))

    def discard_evaluation(self, run_id: str, step: int) -> None:
        """Discard the evaluation at a step: until the next one, the checkpoint is neither evaluated nor recorded."""
        if step in self.evaluations(run_id):
            # Replacing an artifact needs fewer permissions than deleting it.
            self.log_text(run_id, "", evaluation_path(step))

    @raises_store_error
    def evaluations(self, run_id: str) -> tuple[int, ...]:
        """Return the steps of the evaluated checkpoints, in ascending order."""
        return evaluated_steps(self._files(run_id, EVALUATIONS))

    def complete_videos(self, run_id: str) -> dict[int, StoredVideo]:
        """Return the videos of a run that have an evaluation, by step in ascending order.

        A video that was being saved when its process was killed or the disk was full has none: the evaluation is
        saved last.
        """
        videos, evaluated = self.videos(run_id), self.evaluations(run_id)
        return {step: video for step, video in videos.items() if step in evaluated}

    def fetch_evaluation(self, run_id: str, step: int) -> Evaluation:
        """Download the evaluation of a checkpoint.

        Raises:
            StoreError: it is missing, or is not an evaluation.
        """
        path = evaluation_path(step)
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            text = self.fetch_artifact(run_id, path, Path(folder)).read_text("utf-8")
        return _parse_evaluation(run_id, step, text)

    def fetch_evaluations(self, run_id: str) -> tuple[Evaluation, ...]:
        """Download all evaluations of a run, by step, in one request.

        Raises:
            StoreError: one of them is not an evaluation.
        """
        steps = self.evaluations(run_id)
        if not steps:
            return ()
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            local = self.fetch_artifact(run_id, EVALUATIONS, Path(folder))
            texts = [(local / f"{step_name(step)}.json").read_text("utf-8") for step in steps]
        return tuple(_parse_evaluation(run_id, step, text) for step, text in zip(steps, texts, strict=True))


def _parse_evaluation(run_id: str, step: int, text: str) -> Evaluation:
    try:
        return parse_json(Evaluation, text.encode())
    except ValueError as error:
        raise StoreError(f"{evaluation_path(step)} of run {run_id} is not an evaluation: {error}") from None
