"""Episodes of live views: kept in the run of their checkpoint, and verified."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.episodes.trace import Trace
from tasks.arcade.live.kept_episode import record_kept_episode
from tasks.arcade.settings.base import parse_json
from tasks.arcade.video.checkpoint_video import VideoFiles
from tasks.execution.worker_processes import run_in_process
from tasks.runs.verify import Proof, verify_live_video
from tasks.store import Store, StoredCheckpoint, StoredVideo, StoreError


def keep_episode(
    store: Store, checkpoint: StoredCheckpoint, atlas: Atlas | None, raw: bytes
) -> tuple[StoredVideo, Trace]:
    """Render an episode, in a process of its own, and save video and trace in the run of its checkpoint.

    Args:
        store: the store.
        checkpoint: checkpoint that played the episode.
        atlas: atlas of the game, for outlines.
        raw: JSON of the trace.

    Raises:
        RamreelError: the checkpoint is damaged, the video could not be rendered, or could not be saved.
    """
    trace = parse_json(Trace, raw)
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        directory = store.fetch_checkpoint(checkpoint, folder / "checkpoint")
        run_in_process(folder, record_kept_episode, directory, trace, folder, atlas)
        files = VideoFiles.in_folder(folder)
        video = store.save_live_video(
            checkpoint.run_id, checkpoint.step, files.mp4, files.trace, seed=trace.seed, digest=trace.ram_digest
        )
    return video, trace


def verify_episode(store: Store, run_id: str, path: str) -> Proof:
    """Verify an episode that was kept, in a process of its own.

    Args:
        store: the store.
        run_id: run id of the checkpoint.
        path: artifact path of the video.

    Raises:
        StoreError: the run has no such episode.
    """
    video = next((one for one in store.live_videos(run_id) if one.mp4 == path), None)
    if video is None:
        raise StoreError(f"run {run_id} has no episode {path!r} kept from a live view")
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        return run_in_process(Path(folder), verify_live_video, store, run_id, video)
