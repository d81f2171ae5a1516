"""Atlases in the store: each in a run of its own, found again by the game's ROM."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tasks.arcade.atlas.model import Atlas, AtlasError, read_atlas
from tasks.arcade.inputs.forms import AtlasSettings
from tasks.arcade.settings.algorithms import GameSettings
from tasks.store import queries as finding
from tasks.store.connection import connect
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.models import StoreError, flatten, told_in_one_line
from tasks.store.store import Store

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
