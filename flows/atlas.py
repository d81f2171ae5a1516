"""Find out what each byte of a game's RAM does on the screen: an atlas, in a run of its own."""

from __future__ import annotations

from prefect import flow

from flows.run_status import ending
from tasks.arcade.inputs.forms import AtlasSettings
from tasks.atlas import DrawnAtlas, draw, start


@flow(name="atlas", flow_run_name="atlas {settings.title}")
def atlas(settings: AtlasSettings) -> DrawnAtlas:
    """Draw a game's atlas.

    Raises:
        UnknownGameError: no such environment id, or one without RAM.
        StoreError: the store cannot be used, or the run whose checkpoint is to play has none.
    """
    run_id = start(settings)
    with ending(run_id):
        return draw(run_id, settings)
