"""Atlases in the store: each in a run of its own."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.arcade.settings import AtlasSettings, GameSettings
from tasks.store.address import connect
from tasks.store.starting import create_run, origin_tags
from tasks.store.store import Store
from tasks.store.values import flatten, told_in_one_line

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
    from mlflow.entities import Param

    tags = {
        **origin_tags("atlas", command, versions, commit),
        "ramreel.env_id": game.env_id,
        "ramreel.rom": game.rom,
    }
    client = connect(store.address)
    run_id = create_run(client, store.address.artifacts, settings.experiment or game.env_id, name, tags)
    asked = flatten(settings.model_dump(mode="json", exclude={"name", "experiment"}))
    client.log_batch(run_id, params=[Param(key, value) for key, value in asked.items()])
    return run_id
