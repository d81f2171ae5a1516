"""Verification of recorded videos: RAM by replaying the trace, frames by re-rendering, actions by the checkpoint."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.decoding.decoder import DecoderError
from tasks.arcade.drawing.video_format import VideoError
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace
from tasks.arcade.episodes.verify import Verification, verify, verify_decisions
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.scores.pixels_returns import SOURCE_OF, RamSource
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import read_embedded_trace
from tasks.arcade.video.verify import verify_frames
from tasks.runs.consistency import metric_contradictions, trace_contradiction
from tasks.runs.pixels import reader_of
from tasks.store import PRUNED_VIDEOS, Store, StoredCheckpoint, StoredVideo, StoreError, pruned_steps


class Proof(Settings):
    """Result of verifying a video or a trace.

    Attributes:
        first_difference: first step that differs, 0 being the reset; None if there is none.
        reason: why verification failed.
        frames_checked: number of verified frames; 0 for a trace alone.
        first_frame: first frame that differs; None if there is none.
        bit_exact: encoding the frames again gives the same bits.
        by_checkpoint: the checkpoint chooses every action but those of `human_steps`, verified for the videos of a run.
        human_steps: number of steps whose action a person chose in a live view.
        observed: RAM that the checkpoint observed where it was not the emulator's: followed or decoded.
    """

    name: str
    ok: bool
    steps_checked: int
    first_difference: int | None
    reason: str
    frames_checked: int = 0
    first_frame: int | None = None
    bit_exact: bool = False
    by_checkpoint: bool = False
    human_steps: int = 0
    observed: RamSource | None = None

    @property
    def line(self) -> str:
        if not self.ok:
            return f"{self.name}: NOT verified: {self.reason}"
        parts = [f"{pluralize(self.steps_checked, 'step')} identical"]
        if self.frames_checked:
            how = "bit-exact" if self.bit_exact else "as the emulator renders them"
            parts.append(f"{self.frames_checked:,} frames {how}")
        others = f" but {self.human_steps:,} by a person" if self.human_steps else ""
        source = f" on RAM {self.observed} from pixels" if self.observed else ""
        parts.append(
            f"every action chosen by the checkpoint{source}{others}"
            if self.by_checkpoint
            else "actions not checked (no checkpoint)"
        )
        return f"{self.name}: verified, {', '.join(parts)}"


def verify_file(path: Path) -> Proof:
    """Verify a trace file, or a video file with its embedded trace.

    Raises:
        TraceError: the file is not a trace, or not a video with a trace in it.
        VideoError: the video cannot be decoded.
    """
    if not path.is_file():
        raise TraceError(f"{path} is not a file")
    with path.open("rb") as file:
        is_video = file.read(8)[4:] == b"ftyp"
    if not is_video:
        return _step_proof(path.name, verify(read_trace(path)))
    return _verify_video_file(path.name, path)


def _verify_video_file(name: str, path: Path) -> Proof:
    proof = _step_proof(name, verify(read_embedded_trace(path)[0].trace))
    return _with_frames(proof, path) if proof.ok else proof


def verify_run(store: Store, run_id: str) -> list[Proof]:
    """Verify the RAM, the frames and the checkpoint's decisions of every video of a run, kept ones included.

    Raises:
        TraceError: the run has no video.
    """
    videos, checkpoints = store.complete_videos(run_id), store.list_checkpoints(run_id)
    live, from_pixels = store.live_videos(run_id), _videos_from_pixels(store, run_id)
    # An evaluation is stored after its video.
    pruned = set(pruned_steps(store.run(run_id).tags, PRUNED_VIDEOS))
    lost = [_missing_video(step) for step in store.evaluations(run_id) if step not in {*videos, *pruned}]
    if not videos and not lost and not live and not from_pixels:
        raise TraceError(f"run {run_id} has no video to verify: record some with `ramreel record {run_id[:8]}`")
    by_step = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    evaluations, contradictions = _checked_evaluations(store, run_id)
    every = [video for step in videos for video in (videos[step], *store.episode_videos(run_id, step))]
    return [
        *lost,
        *(_no_proof(f"the evaluation at step {step}", reason) for step, reason in contradictions.items()),
        *(_verify_video(store, run_id, video, by_step.get(video.step), evaluations.get(video.step)) for video in every),
        *(_verify_video(store, run_id, video, by_step.get(video.step), None) for video in live),
        *(_verify_video(store, run_id, video, by_step.get(video.step), one) for video, one in from_pixels),
    ]


def _videos_from_pixels(store: Store, run_id: str) -> list[tuple[StoredVideo, Evaluation]]:
    """Return the videos from pixels of a run, each with its evaluation."""
    return [
        (video, store.fetch_pixels_evaluation(run_id, step, method).evaluation)
        for method in SOURCE_OF
        for step in store.pixels_evaluations(run_id, method)
        for video in store.pixels_videos(run_id, step, method)
    ]


def verify_live_video(store: Store, run_id: str, video: StoredVideo) -> Proof:
    """Verify the RAM, the frames and the checkpoint's decisions of an episode that was kept from a live view."""
    stored = {checkpoint.step: checkpoint for checkpoint in store.list_checkpoints(run_id)}.get(video.step)
    return _verify_video(store, run_id, video, stored, None)


def _checked_evaluations(store: Store, run_id: str) -> tuple[dict[int, Evaluation], dict[int, str]]:
    """Return the evaluations of a run by step, and what is wrong with some of them."""
    evaluations: dict[int, Evaluation] = {}
    unreadable: dict[int, str] = {}
    for step in store.evaluations(run_id):
        try:
            evaluations[step] = store.fetch_evaluation(run_id, step)
        except StoreError as error:
            unreadable[step] = str(error)
    return evaluations, unreadable | metric_contradictions(store, run_id, list(evaluations.values()))


def _missing_video(step: int) -> Proof:
    return _no_proof(f"the video at step {step}", "its evaluation is in the store, the video or its trace is missing")


def _no_proof(name: str, reason: str) -> Proof:
    return Proof(name=name, ok=False, steps_checked=0, first_difference=None, reason=reason)


def _verify_video(
    store: Store, run_id: str, video: StoredVideo, stored: StoredCheckpoint | None, evaluation: Evaluation | None
) -> Proof:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        try:
            trace = read_trace(store.fetch_artifact(run_id, video.trace, folder))
            mp4 = store.fetch_artifact(run_id, video.mp4, folder)
            if read_embedded_trace(mp4)[0].trace != trace:
                return _failed(video.mp4, trace, "the trace embedded in the video differs from the stored trace")
            if evaluation and (contradiction := trace_contradiction(trace, evaluation)):
                return _failed(video.mp4, trace, contradiction)
            proof = _verify_video_file(video.mp4, mp4)
            return _verify_decisions(store, proof, trace, stored, folder) if proof.ok else proof
        except (TraceError, VideoError, files.CheckpointError, DecoderError) as error:
            return _no_proof(video.mp4, str(error))


def _verify_decisions(store: Store, proof: Proof, trace: Trace, stored: StoredCheckpoint | None, folder: Path) -> Proof:
    if stored is None or stored.digest != trace.checkpoint:
        reason = f"the run does not have checkpoint {str(trace.checkpoint)[:12]}, which the trace names"
        return _failed(proof.name, trace, reason)
    loaded = files.read_checkpoint(store.fetch_checkpoint(stored, folder / "checkpoint"), stored.digest)
    read_ram = reader_of(store, trace, folder / "decoder")
    decisions = _step_proof(proof.name, verify_decisions(trace, loaded.agent(), read_ram))
    if not decisions.ok:
        return decisions
    observed = SOURCE_OF[trace.from_pixels.method] if trace.from_pixels else None
    return proof.model_copy(update={"by_checkpoint": True, "human_steps": len(trace.human_steps), "observed": observed})


def _failed(name: str, trace: Trace, reason: str) -> Proof:
    return Proof(name=name, ok=False, steps_checked=trace.length, first_difference=None, reason=reason)


def _step_proof(name: str, verification: Verification) -> Proof:
    return Proof(
        name=name,
        ok=verification.ok,
        steps_checked=verification.steps_checked,
        first_difference=verification.first_difference,
        reason=verification.message,
    )


def _with_frames(proof: Proof, path: Path) -> Proof:
    frames = verify_frames(path)
    if frames.ok:
        return proof.model_copy(update={"frames_checked": frames.frames_checked, "bit_exact": frames.exact})
    return Proof(
        name=proof.name,
        ok=False,
        steps_checked=proof.steps_checked,
        first_difference=frames.step,
        reason=frames.message,
        frames_checked=frames.frames_checked,
        first_frame=frames.first_frame,
    )
