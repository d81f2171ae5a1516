"""Videos and evaluations of a run's checkpoints: a video counts once the evaluation that is kept after it is there."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.settings.base import parsed
from tasks.store.artifacts import Artifacts
from tasks.store.models import (
    StoreError,
    Video,
    evaluated_steps,
    pair_episodes,
    pair_videos,
    step_name,
    told_in_one_line,
)

_EVALUATIONS = "evaluations"
_VIDEOS = "videos"


@dataclass(frozen=True)
class Videos(Artifacts):
    """The videos of runs, and how the checkpoints in them were judged."""

    @told_in_one_line
    def save_video(
        self,
        run_id: str,
        step: int,
        mp4: Path,
        trace: Path,
        *,
        episode: str | None = None,
    ) -> Video:
        """Keep a video and its trace; one at the same step is replaced.

        Args:
            run_id: the run.
            step: of the checkpoint recorded.
            mp4: the video, under whatever name.
            trace: its trace, likewise.
            episode: the name of one episode's video, where it is not the checkpoint's video.
        """
        folder, name = (f"{_VIDEOS}/{step_name(step)}", episode) if episode else (_VIDEOS, step_name(step))
        video = Video(
            step=step,
            mp4=f"{folder}/{name}.mp4",
            trace=f"{folder}/{name}.trace.json",
        )
        files = {video.trace: trace, video.mp4: mp4}
        # MLflow keeps a file under its own name; the link gives it the right one without a copy.
        with tempfile.TemporaryDirectory() as links:
            for path, source in files.items():
                link = Path(links) / Path(path).name
                link.unlink(missing_ok=True)
                link.symlink_to(source.absolute())
                self._client.log_artifact(run_id, str(link), str(Path(path).parent))
        return video

    @told_in_one_line
    def videos(self, run_id: str) -> dict[int, Video]:
        """The checkpoints' videos of a run by step, in rising order: only those whose trace is there as well."""
        return pair_videos(self._files(run_id, _VIDEOS))

    @told_in_one_line
    def episode_videos(self, run_id: str, step: int) -> list[Video]:
        """The videos of single episodes of a checkpoint, beside its video; none unless all were asked for."""
        return pair_episodes(step, self._files(run_id, f"{_VIDEOS}/{step_name(step)}"))

    def save_evaluation(self, run_id: str, evaluation: Evaluation) -> None:
        """Keep every episode of a checkpoint's evaluation; one at the same step is replaced."""
        self.log_text(run_id, evaluation.model_dump_json(indent=2), _evaluation_path(evaluation.step))

    def retract_evaluation(self, run_id: str, step: int) -> None:
        """A checkpoint counts as neither evaluated nor recorded, until its next evaluation is kept."""
        if step in self.evaluations(run_id):
            # Whoever may write may replace; not everybody may delete.
            self.log_text(run_id, "", _evaluation_path(step))

    @told_in_one_line
    def evaluations(self, run_id: str) -> tuple[int, ...]:
        """Steps of the checkpoints that have been evaluated, in rising order."""
        return evaluated_steps(self._files(run_id, _EVALUATIONS))

    def complete_videos(self, run_id: str) -> dict[int, Video]:
        """The videos of a run by step, in rising order: those that are there with all that belongs to them.

        A video that was being written when its process was killed, or its disk was full, is none of them: the
        evaluation, which is kept last, is not there.
        """
        videos, evaluated = self.videos(run_id), self.evaluations(run_id)
        return {step: video for step, video in videos.items() if step in evaluated}

    def fetch_evaluation(self, run_id: str, step: int) -> Evaluation:
        """A checkpoint's evaluation.

        Raises:
            StoreError: there is none, or what is there is not an evaluation.
        """
        path = _evaluation_path(step)
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            text = self.fetch_artifact(run_id, path, Path(folder)).read_text("utf-8")
        return _evaluation(run_id, step, text)

    def fetch_evaluations(self, run_id: str) -> tuple[Evaluation, ...]:
        """All evaluations of a run by step, brought here at once.

        Raises:
            StoreError: what is there is not an evaluation.
        """
        steps = self.evaluations(run_id)
        if not steps:
            return ()
        with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
            here = self.fetch_artifact(run_id, _EVALUATIONS, Path(folder))
            texts = [(here / f"{step_name(step)}.json").read_text("utf-8") for step in steps]
        return tuple(_evaluation(run_id, step, text) for step, text in zip(steps, texts, strict=True))


def _evaluation(run_id: str, step: int, text: str) -> Evaluation:
    try:
        return parsed(Evaluation, text.encode())
    except ValueError as error:
        raise StoreError(f"{_evaluation_path(step)} of run {run_id} is no evaluation: {error}") from None


def _evaluation_path(step: int) -> str:
    return f"{_EVALUATIONS}/{step_name(step)}.json"
