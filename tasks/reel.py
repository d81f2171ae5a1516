"""The reel's side effects: checkpoints play one seeded start, in processes; films, animation and traces to MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from prefect import task

from tasks.arcade import checkpoint as files
from tasks.arcade.asked import EvaluationSettings, ReelSettings
from tasks.arcade.episode import Trace, read_trace, write_trace
from tasks.arcade.evaluation import play_episodes
from tasks.arcade.films.lettering import save_animation
from tasks.arcade.films.reel import Clip, Reel, evenly, grid, pictures, sequence
from tasks.arcade.settings import SCHEMA, Settings
from tasks.audience import audience
from tasks.casting import Cast, find_cast
from tasks.processes import in_a_process
from tasks.retries import after_a_death
from tasks.store import Store, StoredCheckpoint, open_store, step_name, store_in_use

ANIMATION_BYTES = 3_000_000
_ANIMATION_SECONDS = 10.0
_EVERY = 3
"""Frames of the game for one of the animation: 20 a second."""
_MILLISECONDS = 50

Part = Literal["reel.mp4", "grid.mp4", "reel.webp"]
PARTS: tuple[Part, ...] = ("reel.mp4", "grid.mp4", "reel.webp")


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
    """A film or the animation, as an artifact path; `film` says what is in it, frame by frame."""

    path: str
    bytes: int
    film: Reel | None = None


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
        trace = in_a_process(place, _play, directory, checkpoint, settings, traces / name)
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


def _play(directory: Path, stored: StoredCheckpoint, settings: ReelSettings, path: Path) -> Trace:
    checkpoint = files.read(directory, stored.digest)
    one = EvaluationSettings(episodes=1, seed=settings.seed, deterministic=settings.deterministic)
    (trace,) = play_episodes(checkpoint, stored.digest, one)
    write_trace(trace, path)
    return trace


@task(
    task_run_name="make {part}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=after_a_death,
)
def make_part(part: Part, found: Cast, played: tuple[PlayedCheckpoint, ...], settings: ReelSettings) -> MadePart:
    """Draw the traces into one film, or into the animation; it goes to the run that keeps the reel.

    Raises:
        FilmError: the film could not be made.
    """
    store = store_in_use()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
        place = Path(temporary)
        sides = [
            [_clip(store, found, one, place) for one in played if one.side == side] for side in range(len(found.sides))
        ]
        made = place / "made"
        made.mkdir()
        film = in_a_process(place, _make, part, sides, made / part, settings.seconds)
        size = (made / part).stat().st_size
        store.save_files(found.run_id, made, found.folder)
    audience().said(f"made {part}")
    return MadePart(path=f"{found.folder}/{part}", bytes=size, film=film)


def _clip(store: Store, found: Cast, played: PlayedCheckpoint, place: Path) -> Clip:
    trace = read_trace(store.fetch_artifact(found.run_id, played.trace, place))
    return Clip(trace=trace, name=found.sides[played.side].name, side=played.side)


def _make(part: Part, sides: list[list[Clip]], path: Path, seconds: float) -> Reel | None:
    if part == "reel.mp4":
        return sequence(list(zip(*sides, strict=True)), path, seconds)
    if part == "grid.mp4":
        return grid(sides, path, seconds)
    _animate(sides, path, min(seconds, _ANIMATION_SECONDS))
    return None


def _animate(sides: list[list[Clip]], path: Path, seconds: float) -> None:
    """Four episodes side by side, small enough for a README: shorter, if need be."""
    few = [[side[at] for at in evenly(len(side), 4 // len(sides))] for side in sides]
    while True:
        save_animation(pictures(few, seconds, _EVERY), path, _MILLISECONDS)
        if path.stat().st_size <= ANIMATION_BYTES or seconds < 1:
            return
        seconds /= 2


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
