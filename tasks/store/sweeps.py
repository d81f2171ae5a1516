"""Sweeps in the store: each in a run of its own, in which its trials are nested."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.arcade.tuning import SweepSettings
from tasks.store.connection import connect, find_home
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.models import flatten, told_in_one_line
from tasks.store.store import Store

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
