"""The reel's side effects: checkpoints play one seeded start, in processes; videos, animation and traces to MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prefect import task

from tasks.arcade.episodes.trace import read_trace
from tasks.arcade.inputs.forms import ReelSettings
from tasks.arcade.settings.base import SCHEMA, Settings
from tasks.arcade.video.reel import Clip, Reel
from tasks.arcade.video.reel_outputs import Part, make, play_for_reel
from tasks.execution.progress_sink import audience
from tasks.execution.retries import after_a_death
from tasks.execution.worker_processes import in_a_process
from tasks.runs.reel_cast import Cast, find_cast
from tasks.store import Store, StoredCheckpoint, open_store, step_name, store_in_use


class PlayedCheckpoint(Settings):
    """An episode of a reel, the whole of it; `trace` is an artifact path within the run that keeps the reel."""

    side: int
    run_id: str
    step: int
    checkpoint: str
    trace: str
    episode_return: int
    steps: int
    frames: int
    ram_digest: str


class MadePart(Settings):
    """A video or the animation, as an artifact path; `video` says what is in it, frame by frame."""

    path: str
    bytes: int
    video: Reel | None = None


class MadeReel(Settings):
    """A reel in the store: what its `reel.json` says."""

    schema_version: int = SCHEMA
    run_id: str
    runs: tuple[str, ...]
    env_id: str
    settings: ReelSettings
    checkpoints: tuple[PlayedCheckpoint, ...]
    left_out: int
    parts: dict[Part, MadePart]
    said: str


@task(task_run_name="choose checkpoints")
def choose(references: tuple[str, ...]) -> Cast:
    """Who plays; the errors are those of `find_cast`."""
    found = find_cast(open_store(), references)
    audience().said(found.said)
    return found


@task(
    task_run_name="play checkpoint at step {checkpoint.step}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=after_a_death,
)
def play_checkpoint(
    checkpoint: StoredCheckpoint, side: int, run_id: str, folder: str, settings: ReelSettings
) -> PlayedCheckpoint:
    """Play the seeded episode to its end; its trace goes to the run that keeps the reel.

    Raises:
        CheckpointError: the checkpoint is damaged.
    """
    store = store_in_use()
    name = f"{'ab'[side]}-{step_name(checkpoint.step)}.trace.json"
    with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
        place = Path(temporary)
        directory = store.fetch_checkpoint(checkpoint, place)
        traces = place / "traces"
        traces.mkdir()
        trace = in_a_process(place, play_for_reel, directory, checkpoint.digest, settings, traces / name)
        store.save_files(run_id, traces, f"{folder}/traces")
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
    task_run_name="make {part}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=after_a_death,
)
def make_part(part: Part, found: Cast, played: tuple[PlayedCheckpoint, ...], settings: ReelSettings) -> MadePart:
    """Draw the traces into one video, or into the animation; it goes to the run that keeps the reel.

    Raises:
        VideoError: the video could not be made.
    """
    store = store_in_use()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
        place = Path(temporary)
        sides = [
            [_clip(store, found, one, place) for one in played if one.side == side] for side in range(len(found.sides))
        ]
        made = place / "made"
        made.mkdir()
        video = in_a_process(place, make, part, sides, made / part, settings.seconds)
        size = (made / part).stat().st_size
        store.save_files(found.run_id, made, found.folder)
    audience().said(f"made {part}")
    return MadePart(path=f"{found.folder}/{part}", bytes=size, video=video)


def _clip(store: Store, found: Cast, played: PlayedCheckpoint, place: Path) -> Clip:
    trace = read_trace(store.fetch_artifact(found.run_id, played.trace, place))
    return Clip(trace=trace, name=found.sides[played.side].name, side=played.side)


@task(task_run_name="write reel.json")
def keep(
    found: Cast, played: tuple[PlayedCheckpoint, ...], parts: dict[Part, MadePart], settings: ReelSettings
) -> MadeReel:
    """Say beside the reel what is in it: which checkpoints, which episodes, which frames."""
    store = store_in_use()
    run = store.run(found.run_id)
    assert run.settings is not None
    made = MadeReel(
        run_id=found.run_id,
        runs=tuple(side.run_id for side in found.sides),
        env_id=run.settings.game.env_id,
        settings=settings,
        checkpoints=played,
        left_out=sum(side.there_are - len(side.checkpoints) for side in found.sides),
        parts=parts,
        said=found.said,
    )
    store.log_text(found.run_id, made.model_dump_json(indent=2), f"{found.folder}/reel.json")
    return made
