"""Runs from elsewhere in the store: each in a run of its own, whose curves MLflow draws like those of a training."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.arcade.external_runs import ForeignRun
from tasks.arcade.settings.algorithms import RunSettings
from tasks.store.connection import connect
from tasks.store.create_run import create_run, log_params, origin_tags
from tasks.store.models import flatten, told_in_one_line
from tasks.store.store import FOREIGN_FILE, IMPORTED, Store


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
