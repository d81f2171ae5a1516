"""Proving videos: traces played again, pictures compared, and the checkpoint that is named asked for every decision."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.drawing.mp4_encoder import VideoError
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace
from tasks.arcade.episodes.verify import Verification, verify, verify_decisions
from tasks.arcade.settings.base import Settings
from tasks.arcade.video.embedded_trace import read_embedded_trace
from tasks.arcade.video.verify import verify_pictures
from tasks.store import Store, StoredCheckpoint, Video


class Proof(Settings):
    """A video or trace that was checked.

    `pictures_checked` is 0 for a trace alone; `to_the_bit` says that the pictures are exactly what encoding gives;
    `by_checkpoint`, that the checkpoint was asked for every action, as it is of a run's videos.
    """

    name: str
    ok: bool
    steps_checked: int
    first_difference: int | None
    what: str
    pictures_checked: int = 0
    first_frame: int | None = None
    to_the_bit: bool = False
    by_checkpoint: bool = False

    @property
    def line(self) -> str:
        if not self.ok:
            return f"{self.name}: NOT proved: {self.what}"
        parts = [f"{self.steps_checked:,} steps identical"]
        if self.pictures_checked:
            how = "to the bit as they are encoded" if self.to_the_bit else "as the emulator draws them"
            parts.append(f"{self.pictures_checked:,} pictures {how}")
        asked = "every action is the checkpoint's"
        parts.append(asked if self.by_checkpoint else "its checkpoint, which a file does not hold, was not asked")
        return f"{self.name}: proved, {', '.join(parts)}"


def verify_file(path: Path) -> Proof:
    """Check a trace's file, or a video's with the trace that is in it.

    Raises:
        TraceError: the file is no trace, or no video with a trace in it.
        VideoError: the video cannot be decoded.
    """
    if not path.is_file():
        raise TraceError(f"there is no file {path}")
    with path.open("rb") as file:
        is_video = file.read(8)[4:] == b"ftyp"
    if not is_video:
        return _of_steps(path.name, verify(read_trace(path)))
    return _video_file(path.name, path)


def _video_file(name: str, path: Path) -> Proof:
    proof = _of_steps(name, verify(read_embedded_trace(path)[0].trace))
    return _with_pictures(proof, path) if proof.ok else proof


def verify_run(store: Store, run_id: str) -> list[Proof]:
    """Check every video of a run: its trace's RAM, its pictures, and that its checkpoint decides every action.

    Raises:
        TraceError: the run has no video.
    """
    videos, checkpoints = store.complete_videos(run_id), store.list_checkpoints(run_id)
    if not videos:
        raise TraceError(f"run {run_id} has no video to verify: `ramreel record {run_id[:8]}` makes them")
    by_step = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    every = [video for step in videos for video in (videos[step], *store.episode_videos(run_id, step))]
    return [_verify_video(store, run_id, video, by_step.get(video.step)) for video in every]


def _verify_video(store: Store, run_id: str, video: Video, stored: StoredCheckpoint | None) -> Proof:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        try:
            trace = read_trace(store.fetch_artifact(run_id, video.trace, folder))
            mp4 = store.fetch_artifact(run_id, video.mp4, folder)
            if read_embedded_trace(mp4)[0].trace != trace:
                return _wrong(video.mp4, trace, "the trace within the video is not the one beside it")
            proof = _video_file(video.mp4, mp4)
            return _decided(store, proof, trace, stored, folder) if proof.ok else proof
        except (TraceError, VideoError, files.CheckpointError) as error:
            return Proof(name=video.mp4, ok=False, steps_checked=0, first_difference=None, what=str(error))


def _decided(store: Store, proof: Proof, trace: Trace, stored: StoredCheckpoint | None, folder: Path) -> Proof:
    if stored is None or stored.digest != trace.checkpoint:
        return _wrong(
            proof.name, trace, f"the run has no checkpoint {str(trace.checkpoint)[:12]}, which its trace names"
        )
    loaded = files.read(store.fetch_checkpoint(stored, folder / "checkpoint"), stored.digest)
    decisions = _of_steps(proof.name, verify_decisions(trace, loaded.agent()))
    return proof.model_copy(update={"by_checkpoint": True}) if decisions.ok else decisions


def _wrong(name: str, trace: Trace, what: str) -> Proof:
    return Proof(name=name, ok=False, steps_checked=trace.length, first_difference=None, what=what)


def _of_steps(name: str, verification: Verification) -> Proof:
    return Proof(
        name=name,
        ok=verification.ok,
        steps_checked=verification.steps_checked,
        first_difference=verification.first_difference,
        what=verification.what,
    )


def _with_pictures(proof: Proof, path: Path) -> Proof:
    pictures = verify_pictures(path)
    if pictures.ok:
        return proof.model_copy(update={"pictures_checked": pictures.frames_checked, "to_the_bit": pictures.exact})
    return Proof(
        name=proof.name,
        ok=False,
        steps_checked=proof.steps_checked,
        first_difference=pictures.step,
        what=pictures.what,
        pictures_checked=pictures.frames_checked,
        first_frame=pictures.first_frame,
    )
