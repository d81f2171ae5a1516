"""Tasks of the reel flow: episodes of the checkpoints, videos and animation, their manifest in MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prefect import task

from tasks.arcade.episodes.trace import read_trace
from tasks.arcade.inputs.forms import ReelSettings
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.video.reel import RenderedReel
from tasks.arcade.video.reel_cells import ReelEpisode
from tasks.arcade.video.reel_outputs import PartName, play_reel_episode, render_part
from tasks.execution.progress_sink import current_sink
from tasks.execution.retries import retry_on_process_death
from tasks.execution.worker_processes import run_in_process
from tasks.runs.reel_selection import ReelSelection, select_checkpoints
from tasks.store import Store, StoredCheckpoint, open_store, step_name, store_in_use


class PlayedCheckpoint(Settings):
    """A complete episode of a reel; `trace` is an artifact path within the run that stores the reel."""

    side: int
    run_id: str
    step: int
    checkpoint: str
    trace: str
    episode_return: int
    steps: int
    frames: int
    ram_digest: str


class ReelPart(Settings):
    """A video or the animation of a reel, as an artifact path; `video` lists its contents frame by frame."""

    path: str
    bytes: int
    video: RenderedReel | None = None


class ReelResult(Settings):
    """A reel in the store: the contents of its `reel.json`."""

    schema_version: int = SCHEMA
    run_id: str
    runs: tuple[str, ...]
    env_id: str
    settings: ReelSettings
    checkpoints: tuple[PlayedCheckpoint, ...]
    left_out: int
    parts: dict[PartName, ReelPart]
    summary: str


@task(task_run_name="select checkpoints")
def select(references: tuple[str, ...]) -> ReelSelection:
    """Select the checkpoints of the reel.

    Raises:
        StoreError: as of `select_checkpoints`.
    """
    selection = select_checkpoints(open_store(), references)
    current_sink().log(selection.summary)
    return selection


@task(
    task_run_name="play checkpoint at step {checkpoint.step}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=retry_on_process_death,
)
def play_checkpoint(
    checkpoint: StoredCheckpoint, side: int, run_id: str, folder: str, settings: ReelSettings
) -> PlayedCheckpoint:
    """Play the seeded episode to its end and log its trace to the run that stores the reel.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    store = store_in_use()
    name = f"{'ab'[side]}-{step_name(checkpoint.step)}.trace.json"
    with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
        scratch = Path(temporary)
        directory = store.fetch_checkpoint(checkpoint, scratch)
        traces = scratch / "traces"
        traces.mkdir()
        trace = run_in_process(scratch, play_reel_episode, directory, checkpoint.digest, settings, traces / name)
        store.log_artifacts(run_id, traces, f"{folder}/traces")
    return PlayedCheckpoint(
        side=side,
        run_id=checkpoint.run_id,
        step=checkpoint.step,
        checkpoint=checkpoint.digest,
        trace=f"{folder}/traces/{name}",
        episode_return=trace.episode_return,
        steps=trace.length,
        frames=trace.frames,
        ram_digest=trace.ram_digest,
    )


@task(
    task_run_name="render {part}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=retry_on_process_death,
)
def make_part(
    part: PartName, selection: ReelSelection, played: tuple[PlayedCheckpoint, ...], settings: ReelSettings
) -> ReelPart:
    """Render the traces to one of the videos, or to the animation, and log it to the run that stores the reel.

    Raises:
        VideoError: the video could not be encoded.
    """
    store = store_in_use()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
        scratch = Path(temporary)
        sides = [
            [_episode(store, selection, one, scratch) for one in played if one.side == side]
            for side in range(len(selection.sides))
        ]
        output = scratch / "output"
        output.mkdir()
        video = run_in_process(scratch, render_part, part, sides, output / part, settings.seconds)
        size = (output / part).stat().st_size
        store.log_artifacts(selection.run_id, output, selection.folder)
    current_sink().log(f"rendered {part}")
    return ReelPart(path=f"{selection.folder}/{part}", bytes=size, video=video)


def _episode(store: Store, selection: ReelSelection, played: PlayedCheckpoint, scratch: Path) -> ReelEpisode:
    trace = read_trace(store.fetch_artifact(selection.run_id, played.trace, scratch))
    return ReelEpisode(trace=trace, name=selection.sides[played.side].name, side=played.side)


@task(task_run_name="write reel.json")
def write_manifest(
    selection: ReelSelection,
    played: tuple[PlayedCheckpoint, ...],
    parts: dict[PartName, ReelPart],
    settings: ReelSettings,
) -> ReelResult:
    """Log `reel.json`, the manifest of the reel: its checkpoints, episodes and frames."""
    store = store_in_use()
    run = store.run(selection.run_id)
    assert run.settings is not None
    result = ReelResult(
        run_id=selection.run_id,
        runs=tuple(side.run_id for side in selection.sides),
        env_id=run.settings.game.env_id,
        settings=settings,
        checkpoints=played,
        left_out=sum(side.available - len(side.checkpoints) for side in selection.sides),
        parts=parts,
        summary=selection.summary,
    )
    store.log_text(selection.run_id, result.model_dump_json(indent=2), f"{selection.folder}/reel.json")
    return result
