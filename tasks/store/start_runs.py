"""Runs other than training runs: atlases, imported runs and sweeps."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tasks.arcade.atlas.atlas import Atlas, AtlasError, read_atlas
from tasks.arcade.external_runs import ExternalRun
from tasks.arcade.inputs.forms import AtlasSettings, DecodeSettings, SweepSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import RunSettings
from tasks.store import queries
from tasks.store.address import find_address
from tasks.store.connection import connect
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.run_reader import EXTERNAL_RUN_FILE, IMPORTED
from tasks.store.store import Store
from tasks.store.values import flatten

ATLAS = "atlas/atlas.json"
"""Artifact path of an atlas within its run; its image and pages are in the same folder."""
BEST_SETTINGS = "reports/best.toml"
"""Artifact path of the settings of a sweep's best trial."""
_MAX_PARAM = 6000
"""Longest parameter value that MLflow takes, in characters."""


@raises_store_error
def start_game_run(
    store: Store,
    kind: Literal["atlas", "decoder"],
    settings: AtlasSettings | DecodeSettings,
    game: GameSettings,
    *,
    name: str,
    command: str,
    versions: Mapping[str, str],
    commit: str | None,
) -> str:
    """Start the run of an atlas or a decoder of a game, with its settings as parameters.

    Returns:
        MLflow's run id.
    """
    tags = {
        **origin_tags(kind, command, versions, commit),
        "ramreel.env_id": game.env_id,
        "ramreel.rom": game.rom,
    }
    client = connect(store.address)
    run_id = create_run(client, store.address.artifacts, settings.experiment or game.env_id, name, tags)
    log_params(client, run_id, flatten(settings.model_dump(mode="json", exclude={"name", "experiment"})))
    return run_id


@raises_store_error
def newest_atlas(store: Store, rom: str) -> Atlas | None:
    """Return the newest finished atlas of a ROM, or None.

    Raises:
        StoreError: the artifact is not an atlas.
    """
    run = queries.newest_run_of_rom(connect(store.address), "atlas", rom)
    if run is None:
        return None
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        try:
            return read_atlas(store.fetch_artifact(run.info.run_id, ATLAS, Path(folder)))
        except AtlasError as error:
            raise StoreError(f"{ATLAS} of run {run.info.run_id}: {error}") from None


@raises_store_error
def start_import(
    store: Store,
    run: ExternalRun,
    *,
    name: str,
    experiment: str | None,
    settings: RunSettings | None,
    params: Mapping[str, str],
    command: str,
    versions: Mapping[str, str],
    commit: str | None,
) -> str:
    """Start an MLflow run for an imported run.

    Args:
        store: the store.
        run: metadata of the imported run.
        name: run name in MLflow.
        experiment: MLflow experiment (default: the environment id).
        settings: settings of a run that can be played; None if it cannot.
        params: further training parameters of the run.
        command: command line of the import.
        versions: library versions of the import, by package.
        commit: commit of ramreel's source; None if unknown.

    Returns:
        MLflow's run id.
    """
    tags = {"ramreel.imported_from": run.origin}
    logged = {**params, "imported.from": run.origin}
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
        logged |= flatten(run.model_dump(mode="json", include={"game", "seed", "steps"}))
    log_params(connect(store.address), run_id, {key: value[:_MAX_PARAM] for key, value in logged.items()})
    store.log_text(run_id, run.model_dump_json(indent=2), EXTERNAL_RUN_FILE)
    return run_id


def study_uri(store: Store) -> str:
    """Return the SQLAlchemy URI of the database of Optuna's studies, which all processes of this store share.

    It is that of `RAMREEL_STUDY_DATABASE`; by default SQLite next to the store's own file, or the store's PostgreSQL
    database.

    Raises:
        StoreError: the store is another one, and no database is named.
    """
    if named := os.environ.get("RAMREEL_STUDY_DATABASE"):
        return find_address(named).uri
    if store.address.database is not None:
        return f"sqlite:///{store.address.database.with_name('optuna.db')}"
    if store.address.uri.startswith("postgresql"):
        return store.address.uri
    raise StoreError(
        f"a sweep over {store.address.redacted_uri} needs a database for its study: set RAMREEL_STUDY_DATABASE to one "
        "that all its machines reach, such as postgresql+psycopg2://user@host/database, or on a single machine to a "
        "file, such as sqlite:////home/me/optuna.db"
    )


@raises_store_error
def start_sweep(
    store: Store, settings: SweepSettings, *, command: str, versions: Mapping[str, str], commit: str | None
) -> str:
    """Start the run of a sweep, with the sweep settings as parameters.

    Returns:
        MLflow's run id.
    """
    tags = {**origin_tags("sweep", command, versions, commit), "ramreel.env_id": settings.env_id}
    client = connect(store.address)
    experiment = settings.experiment or settings.env_id
    run_id = create_run(client, store.address.artifacts, experiment, settings.title, tags)
    params = flatten(settings.model_dump(mode="json", include={"env_id", "approach", "parameters", "steps", "seed"}))
    log_params(client, run_id, params)
    return run_id
