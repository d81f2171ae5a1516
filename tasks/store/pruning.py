"""Deletion of what a retention planned. Interrupted anywhere, it is completed by the next one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tasks.store import mlflow_internals, queries
from tasks.store.artifact_files import delete_files
from tasks.store.artifact_lock import artifacts_lock
from tasks.store.artifact_paths import training_state_path
from tasks.store.champions import delete_versions
from tasks.store.connection import connect
from tasks.store.database_files import shrink
from tasks.store.errors import raises_store_error
from tasks.store.retention import PRUNED_STATES, PRUNED_VIDEOS, PrunedFiles, PrunePlan, pruned_steps
from tasks.store.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@raises_store_error
def prune(store: Store, plan: PrunePlan, log: Callable[[str], None] = lambda _: None) -> None:
    """Delete what was planned; a backup that is being written is waited for.

    Args:
        store: the store.
        plan: what to delete.
        log: called with a line for each run that is deleted.
    """
    with artifacts_lock(store.address):
        client = connect(store.address)
        for one in plan.videos:
            _delete_paths(store, client, one, PRUNED_VIDEOS, [file.path for file in one.files])
        for one in plan.training_states:
            _delete_paths(store, client, one, PRUNED_STATES, map(training_state_path, one.steps))
        for run in plan.runs:
            log(f"deleting run {run.name} ({run.run_id[:8]})")
            # Deleted first: one whose artifacts are being deleted must not be compared.
            client.delete_run(run.run_id)
        _delete_for_good(store, client, [run.run_id for run in (*plan.runs, *plan.deleted_runs)])
        if store.address.database is not None:
            shrink(store.address.database)


def _delete_paths(store: Store, client: MlflowClient, pruned: PrunedFiles, tag: str, paths: Iterable[str]) -> None:
    # The tag first: a video that is missing without it does not verify.
    run = client.get_run(pruned.run_id)
    steps = {*pruned_steps(run.data.tags, tag), *pruned.steps}
    client.set_tag(pruned.run_id, tag, json.dumps(sorted(steps)))
    for path in paths:
        delete_files(store.address, run.info.artifact_uri, path)


def _delete_for_good(store: Store, client: MlflowClient, run_ids: Iterable[str]) -> None:
    """Delete runs that are deleted already with their artifacts, checkpoints and registered versions.

    Behind a server their metadata stays, in MLflow's trash, until `mlflow gc` is run there.
    """
    hard = mlflow_internals.hard_deleting_store(client)
    for run_id in run_ids:
        run: Run = client.get_run(run_id)
        delete_versions(client, run_id)
        for model in queries.logged_models(client, run):
            delete_files(store.address, model.artifact_location)
            client.delete_logged_model(model.model_id)
            if hard:
                hard._hard_delete_logged_model(model.model_id)
        delete_files(store.address, run.info.artifact_uri)
        if hard:
            hard._hard_delete_run(run_id)
