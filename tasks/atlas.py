"""The atlas's side effects: plays looked into, in processes on all cores; picture, tables, JSON to a run of its own."""

from __future__ import annotations

import tempfile
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
from prefect import task
from prefect.artifacts import create_markdown_artifact

from tasks.arcade.atlas.build import Chart, chart
from tasks.arcade.atlas.model import Atlas, Kind
from tasks.arcade.atlas.page import render_html, render_markdown
from tasks.arcade.atlas.perturb import PlaySettings, Study
from tasks.arcade.atlas.poster import write_sheet
from tasks.arcade.atlas.worker import silence_stderr, study_checkpoint
from tasks.arcade.emulator.emulator import resolve
from tasks.arcade.inputs.forms import AtlasSettings
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.execution import provenance
from tasks.execution.progress_sink import audience
from tasks.execution.worker_processes import processes
from tasks.store import ATLAS, Store, StoredCheckpoint, open_store, start_atlas

_PLAYS = 8
"""Played apart, each from a seed of its own: as many whatever the cores, so that the atlas is the same everywhere."""
_RANDOM = "random"
SHEET = "atlas/atlas.png"
PAGE = "atlas/atlas.html"
TABLE = "atlas/atlas.md"


class DrawnAtlas(Settings):
    """An atlas in the store: artifact paths within its run, and how many bytes there are of each kind."""

    run_id: str
    atlas: str
    sheet: str
    page: str
    table: str
    states: int
    pokes: int
    unsteady: int
    kinds: dict[Kind, int]


@task(task_run_name="start atlas of {settings.env_id}")
def start(settings: AtlasSettings) -> str:
    """Start the atlas's own MLflow run; returns its id."""
    return start_atlas(
        open_store(),
        settings,
        resolve(settings.env_id),
        name=settings.name or f"atlas of {settings.env_id}",
        **provenance.origin(),
    )


@task(task_run_name="draw atlas of {settings.env_id}")
def draw(run_id: str, settings: AtlasSettings) -> DrawnAtlas:
    """Play, change every byte in many states, judge what was seen; everything goes to the run.

    Raises:
        UnknownGameError: the game cannot be emulated.
        StoreError: the run whose checkpoint is to play has none.
        CheckpointError: the checkpoint is damaged.
    """
    store = open_store()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        stored = store.checkpoints_at(settings.run)[-1] if settings.run else None
        directory = store.fetch_checkpoint(stored, folder) if stored else None
        studies = _studies(settings, stored, directory, folder)
    drawn = chart(studies, resolve(settings.env_id), settings.seed, stored.digest if stored else _RANDOM)
    _keep(store, run_id, drawn)
    atlas = drawn.atlas
    key = f"atlas-{run_id[:8]}"
    create_markdown_artifact(render_markdown(atlas), key=key, description=f"Atlas of {atlas.game.env_id}")
    return DrawnAtlas(
        run_id=run_id,
        atlas=ATLAS,
        sheet=SHEET,
        page=PAGE,
        table=TABLE,
        states=atlas.states,
        pokes=atlas.pokes,
        unsteady=atlas.unsteady,
        kinds=_kinds(atlas),
    )


def _studies(
    settings: AtlasSettings, stored: StoredCheckpoint | None, directory: Path | None, folder: Path
) -> list[Study]:
    """The plays, side by side."""
    plays = _plays(settings, resolve(settings.env_id))
    digest = stored.digest if stored else None
    with processes(min(cores(), len(plays)), folder, silence_stderr) as pool:
        futures = {pool.submit(study_checkpoint, play, directory, digest): play for play in plays}
        for number, future in enumerate(as_completed(futures), 1):
            found = future.result()
            audience().said(
                f"{number} of {len(plays)} plays: {len(found.rams)} states, {found.pokes:,} changes of a byte"
            )
        return [future.result() for future in futures]


def _plays(settings: AtlasSettings, game: GameSettings) -> list[PlaySettings]:
    n = min(_PLAYS, settings.states)
    seeds = [int(np.random.SeedSequence(settings.seed, spawn_key=(2, k)).generate_state(1)[0]) for k in range(n)]
    states = [len(part) for part in np.array_split(np.arange(settings.states), n)]
    steps = max(settings.steps // n, *states)
    return [PlaySettings(game, seed, steps, count) for seed, count in zip(seeds, states, strict=True)]


def _keep(store: Store, run_id: str, drawn: Chart) -> None:
    atlas = drawn.atlas
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        sheet = folder / Path(SHEET).name
        write_sheet(drawn, sheet)
        (folder / Path(ATLAS).name).write_text(atlas.model_dump_json(indent=2), "utf-8")
        (folder / Path(TABLE).name).write_text(render_markdown(atlas), "utf-8")
        (folder / Path(PAGE).name).write_text(render_html(atlas, sheet.read_bytes()), "utf-8")
        store.save_files(run_id, folder, str(Path(ATLAS).parent))
    figures = {f"atlas/{kind.replace(' ', '_')}": float(n) for kind, n in _kinds(atlas).items()}
    store.log_metrics(run_id, {**figures, "atlas/pokes": atlas.pokes, "atlas/unsteady": atlas.unsteady}, step=0)


def _kinds(atlas: Atlas) -> dict[Kind, int]:
    kinds = [entry.kind for entry in atlas.entries]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
