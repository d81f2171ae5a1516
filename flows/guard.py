"""Look whether the champions still play as they did when they were crowned."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.unattended import GuardSettings
from tasks.champion import Standing, champions, inspect
from tasks.restarts import refuse_crash_loop


@flow(name="guard", flow_run_name="guard {settings.title}")
def guard(settings: GuardSettings) -> tuple[Standing, ...]:
    """Have champions play fresh seeds; one that plays worse is told of, and an automation trains again.

    Raises:
        StoreError: the game that is asked for has no champion, or the store is away.
    """
    refuse_crash_loop()
    games = (settings.env_id,) if settings.env_id else champions()
    return tuple(inspect(env_id, settings.episodes) for env_id in games)
