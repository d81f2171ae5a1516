"""An episode that is kept from a live view: its trace, and a video as of any other episode of the checkpoint."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from threadpoolctl import threadpool_limits

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.episodes.trace import Trace, write_trace
from tasks.arcade.live.process import NICENESS
from tasks.arcade.video.checkpoint_video import VideoFiles, caption_of
from tasks.arcade.video.panel import PanelRenderer
from tasks.arcade.video.render import RenderedVideo, render_video


def record_kept_episode(checkpoint: Path, trace: Trace, folder: Path, atlas: Atlas | None = None) -> RenderedVideo:
    """Render the video of an episode and write its trace, as `VideoFiles.in_folder(folder)`.

    Args:
        checkpoint: Folder of the checkpoint that played it.
        trace: Trace of the episode.
        folder: Folder for the files.
        atlas: Atlas of the game, for outlines (default: no outlines).

    Raises:
        CheckpointError: The checkpoint is damaged.
        VideoError: The video could not be rendered.
    """
    os.nice(NICENESS)
    paths = VideoFiles.in_folder(folder)
    with threadpool_limits(1):
        loaded = files.read_checkpoint(checkpoint, trace.checkpoint)
        panel = partial(PanelRenderer, checkpoint=loaded, caption=caption_of(loaded, trace, label_of(trace)))
        rendered = render_video(trace, paths.mp4, partial(panel, atlas=atlas))
    write_trace(trace, paths.trace)
    return rendered


def label_of(trace: Trace) -> str:
    """Return the label of a kept episode, e.g. `live, 30 of 512 steps by a person`."""
    by_human = f", {len(trace.human_steps):,} of {trace.length:,} steps by a person" if trace.human_steps else ""
    return f"live{by_human}"
