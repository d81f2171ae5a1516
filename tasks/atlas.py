"""Tasks of the atlas flow: its MLflow run, episodes played in worker processes, poster, page and table in MLflow."""

from __future__ import annotations

import tempfile
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
from prefect import task
from prefect.artifacts import create_markdown_artifact

from tasks.arcade.atlas.atlas import Atlas, Kind
from tasks.arcade.atlas.build import AtlasData, assemble_atlas
from tasks.arcade.atlas.page import render_html, render_markdown
from tasks.arcade.atlas.perturb import PerturbationResult, PerturbationSettings
from tasks.arcade.atlas.perturb_checkpoint import perturb_checkpoint, silence_stderr
from tasks.arcade.atlas.poster import write_poster
from tasks.arcade.emulator.environment_ids import resolve, rom_path
from tasks.arcade.inputs.forms import AtlasSettings
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.game import GameSettings
from tasks.execution import provenance
from tasks.execution.progress_sink import current_sink, log_message
from tasks.execution.worker_processes import process_pool
from tasks.runs.run_description import artifact_link
from tasks.store import ATLAS, Store, StoredCheckpoint, open_store, start_game_run

_PARTS = 8
"""Independent parts of the play, each with its own seed; fixed, so that the atlas does not depend on the CPU cores."""
_RANDOM = "random"
POSTER = "atlas/atlas.png"
PAGE = "atlas/atlas.html"
TABLE = "atlas/atlas.md"


class AtlasResult(Settings):
    """An atlas in the store: artifact paths within its run, and the number of bytes of each kind."""

    run_id: str
    atlas: str
    poster: str
    page: str
    table: str
    states: int
    perturbations: int
    discarded_states: int
    kinds: dict[Kind, int]


@task(task_run_name="start atlas of {settings.env_id}")
def start_atlas_run(settings: AtlasSettings) -> str:
    """Start the atlas's own MLflow run and return its run id.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        RomError: the ROM of the game cannot be read.
    """
    game = resolve(settings.env_id)
    rom_path(game.rom)
    return start_game_run(
        open_store(),
        "atlas",
        settings,
        game,
        name=settings.name or f"atlas of {settings.env_id}",
        **provenance.origin(),
    )


@task(task_run_name="build atlas of {settings.env_id}")
def build_atlas(run_id: str, settings: AtlasSettings) -> AtlasResult:
    """Play, perturb every byte in many states, classify the effects, and log the atlas to its run.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        StoreError: the run whose checkpoint plays has none.
        CheckpointError: the checkpoint is damaged.
    """
    store = open_store()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        stored = store.checkpoints_at(settings.run)[-1] if settings.run else None
        directory = store.fetch_checkpoint(stored, folder) if stored else None
        results = _perturb(settings, stored, directory, folder)
    data = assemble_atlas(results, resolve(settings.env_id), settings.seed, stored.digest if stored else _RANDOM)
    _save(store, run_id, data)
    atlas = data.atlas
    links = artifact_link(store, run_id, PAGE, "Atlas"), artifact_link(store, run_id, POSTER, "poster")
    summary = f"Effect of every RAM byte of {atlas.game.env_id}, from {atlas.perturbations:,} perturbations"
    if atlas.caution:
        summary = f"{summary}\n\n{atlas.caution}"
        log_message(atlas.caution)
    store.set_description(run_id, f"{summary}\n\n{' · '.join(links)}")
    key = f"atlas-{run_id[:8]}"
    create_markdown_artifact(render_markdown(atlas), key=key, description=f"Atlas of {atlas.game.env_id}")
    return AtlasResult(
        run_id=run_id,
        atlas=ATLAS,
        poster=POSTER,
        page=PAGE,
        table=TABLE,
        states=atlas.states,
        perturbations=atlas.perturbations,
        discarded_states=atlas.discarded_states,
        kinds=_kinds(atlas),
    )


def _perturb(
    settings: AtlasSettings, stored: StoredCheckpoint | None, directory: Path | None, folder: Path
) -> list[PerturbationResult]:
    """Play and perturb in parallel."""
    parts = _parts(settings, resolve(settings.env_id))
    digest = stored.digest if stored else None
    with process_pool(min(cores(), len(parts)), folder, silence_stderr) as pool:
        futures = {pool.submit(perturb_checkpoint, part, directory, digest): part for part in parts}
        for number, future in enumerate(as_completed(futures), 1):
            result = future.result()
            current_sink().log(
                f"{number} of {pluralize(len(parts), 'part')}: {pluralize(len(result.rams), 'state')}, "
                f"{pluralize(result.perturbations, 'perturbation')}"
            )
        return [future.result() for future in futures]


def _parts(settings: AtlasSettings, game: GameSettings) -> list[PerturbationSettings]:
    n = min(_PARTS, settings.states)
    seeds = [int(np.random.SeedSequence(settings.seed, spawn_key=(2, k)).generate_state(1)[0]) for k in range(n)]
    states = [len(share) for share in np.array_split(np.arange(settings.states), n)]
    steps = max(settings.steps // n, *states)
    return [PerturbationSettings(game, seed, steps, count) for seed, count in zip(seeds, states, strict=True)]


def _save(store: Store, run_id: str, data: AtlasData) -> None:
    atlas = data.atlas
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        poster = folder / Path(POSTER).name
        write_poster(data, poster)
        (folder / Path(ATLAS).name).write_text(atlas.model_dump_json(indent=2), "utf-8")
        (folder / Path(TABLE).name).write_text(render_markdown(atlas), "utf-8")
        (folder / Path(PAGE).name).write_text(render_html(atlas, poster.read_bytes()), "utf-8")
        store.log_artifacts(run_id, folder, str(Path(ATLAS).parent))
    figures = {f"atlas/{kind.replace(' ', '_')}": float(n) for kind, n in _kinds(atlas).items()}
    store.log_metrics(
        run_id,
        {**figures, "atlas/perturbations": atlas.perturbations, "atlas/discarded_states": atlas.discarded_states},
        step=0,
    )


def _kinds(atlas: Atlas) -> dict[Kind, int]:
    kinds = [entry.kind for entry in atlas.entries]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
