"""A logged model of MLflow while it is written: it is found once it is complete."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel


@contextlib.contextmanager
def new_logged_model(
    client: MlflowClient,
    run_id: str,
    step: int,
    *,
    name: str,
    model_type: str,
    tags: Mapping[str, str],
    params: Mapping[str, str] | None = None,
) -> Iterator[LoggedModel]:
    """Create a logged model of a run, whose files the block uploads; it is READY after the block, or else FAILED.

    Args:
        client: client of the tracking store.
        run_id: MLflow's run id.
        step: environment steps of the run's output.
        name: name of the model.
        model_type: its type.
        tags: its tags.
        params: its parameters.
    """
    from mlflow.entities import LoggedModelOutput

    model = client.create_logged_model(
        experiment_id=client.get_run(run_id).info.experiment_id,
        name=name,
        source_run_id=run_id,
        tags=dict(tags),
        params=dict(params or {}),
        model_type=model_type,
    )
    model_id = str(model.model_id)
    try:
        yield model
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])
        client.finalize_logged_model(model_id, "READY")
    except BaseException:
        with contextlib.suppress(Exception):
            client.finalize_logged_model(model_id, "FAILED")
        raise
