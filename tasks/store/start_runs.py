"""Atlases in the store: each in a run of its own, found again by the game's ROM."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tasks.arcade.atlas.model import Atlas, AtlasError, read_atlas
from tasks.arcade.external_runs import ForeignRun
from tasks.arcade.inputs.forms import AtlasSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.tuning import SweepSettings
from tasks.store import queries as finding
from tasks.store.connection import connect, find_home
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.models import StoreError, flatten, told_in_one_line
from tasks.store.store import FOREIGN_FILE, IMPORTED, Store

ATLAS = "atlas/atlas.json"
"""Artifact path of an atlas within its run; its picture and its pages lie beside it."""


@told_in_one_line
def start_atlas(
    store: Store,
    settings: AtlasSettings,
    game: GameSettings,
    *,
    name: str,
    command: str,
    versions: Mapping[str, str],
    commit: str | None,
) -> str:
    """Start the run that holds an atlas; what was asked for is its parameters.

    Returns:
        MLflow's run id.
    """
    tags = {
        **origin_tags("atlas", command, versions, commit),
        "ramreel.env_id": game.env_id,
        "ramreel.rom": game.rom,
    }
    client = connect(store.address)
    run_id = create_run(client, store.address.artifacts, settings.experiment or game.env_id, name, tags)
    log_params(client, run_id, flatten(settings.model_dump(mode="json", exclude={"name", "experiment"})))
    return run_id


@told_in_one_line
def newest_atlas(store: Store, rom: str) -> Atlas | None:
    """The atlas of a game that was started last, of those that are finished; none: there is none.

    Raises:
        StoreError: what is there is no atlas.
    """
    run = finding.newest_atlas(connect(store.address), rom)
    if run is None:
        return None
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        try:
            return read_atlas(store.fetch_artifact(run.info.run_id, ATLAS, Path(folder)))
        except AtlasError as error:
            raise StoreError(f"{ATLAS} of run {run.info.run_id}: {error}") from None


@told_in_one_line
def start_import(
    store: Store,
    run: ForeignRun,
    *,
    name: str,
    experiment: str | None,
    settings: RunSettings | None,
    params: Mapping[str, str],
    command: str,
    versions: Mapping[str, str],
    commit: str | None,
) -> str:
    """Start the run that holds what is known of a run from elsewhere.

    Args:
        store: where.
        run: what is known.
        name: the run's name.
        experiment: MLflow experiment; none: the environment id.
        settings: of one that can be played; none: it cannot.
        params: what else is known of how it was trained.
        command: what was typed.
        versions: of what imports it.
        commit: likewise.

    Returns:
        MLflow's run id.
    """
    tags = {"ramreel.imported_from": run.origin}
    given = {**params, "imported.from": run.origin}
    if settings is not None:
        run_id = store.start_run(
            settings,
            name=name,
            experiment=experiment,
            kind=IMPORTED,
            tags=tags,
            command=command,
            versions=versions,
            commit=commit,
        )
    else:
        tags |= {"ramreel.approach": run.approach, "ramreel.env_id": run.game.env_id}
        tags |= origin_tags(IMPORTED, command, versions, commit)
        client = connect(store.address)
        run_id = create_run(client, store.address.artifacts, experiment or run.game.env_id, name, tags)
        given |= flatten(run.model_dump(mode="json", include={"game", "seed", "steps"}))
    log_params(connect(store.address), run_id, {key: value[:6000] for key, value in given.items()})
    store.log_text(run_id, run.model_dump_json(indent=2), FOREIGN_FILE)
    return run_id


BEST_SETTINGS = "reports/best.toml"


def study_file(store: Store) -> Path:
    """Where Optuna keeps its studies: beside the store's database, or, of a server's, where ours would be."""
    database = store.address.database or find_home() / "mlruns" / "mlflow.db"
    return database.with_name("optuna.db")


@told_in_one_line
def start_sweep(
    store: Store, settings: SweepSettings, *, command: str, versions: Mapping[str, str], commit: str | None
) -> str:
    """Start the run that holds a sweep; what was asked for is its parameters.

    Returns:
        MLflow's run id.
    """
    tags = {**origin_tags("sweep", command, versions, commit), "ramreel.env_id": settings.env_id}
    client = connect(store.address)
    experiment = settings.experiment or settings.env_id
    run_id = create_run(client, store.address.artifacts, experiment, settings.title, tags)
    asked = flatten(settings.model_dump(mode="json", include={"env_id", "approach", "parameters", "steps", "seed"}))
    log_params(client, run_id, asked)
    return run_id
