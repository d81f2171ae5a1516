"""Atlas flow: determine what each byte of a game's RAM does on the screen."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.inputs.forms import AtlasSettings
from tasks.atlas import AtlasResult, build_atlas, start_atlas_run
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.resolve_run import resolve_run
from tasks.execution.run_status import active_run


@flow(name="atlas", flow_run_name="atlas {settings.title}")
def atlas(settings: AtlasSettings) -> AtlasResult:
    """Build the atlas of a game, in an MLflow run of its own.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        StoreError: the store is unavailable, or the run whose checkpoint plays has none.
    """
    refuse_crash_loop()
    if settings.run:
        settings = settings.model_copy(update={"run": resolve_run(settings.run)})
    run_id = start_atlas_run(settings)
    with active_run(run_id):
        return build_atlas(run_id, settings)
