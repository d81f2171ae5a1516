"""`ramreel guard`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.cli.options import Given, Json, Quiet, TrackingUri, options_of
from flows.cli.session import announce, configure_prefect, flow_session, open_checked_store, validated, validating
from tasks.arcade.inputs.unattended import GuardSettings

if TYPE_CHECKING:
    from tasks.champion import ChampionStatus

DROPPED = 3
"""Exit code if a champion's performance dropped."""


@options_of(GuardSettings)
def guard(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False, quiet: Quiet = False) -> int:
    """Check whether the champions still perform as well as when they were crowned, and report those that do not."""
    settings = validated(GuardSettings, given)
    announce(f"guard {settings.title}", quiet=quiet)
    from tasks.arcade.emulator.environment_ids import check_roms_folder, resolve, rom_path

    with validating():
        check_roms_folder()
        if settings.env_id is not None:
            rom_path(resolve(settings.env_id).rom)
    store = open_checked_store(tracking_uri)
    configure_prefect()
    from tasks.champion import require_champion

    with validating():
        if settings.env_id is not None:
            require_champion(store, settings.env_id)
    with flow_session("flows.guard", as_json, quiet) as terminal:
        from flows.guard import GuardError
        from flows.guard import guard as flow

        try:
            statuses = flow(settings)
        except GuardError as error:
            terminal.error(str(error), _values(error.statuses))
            return 1
        lines = [f"{one.env_id} version {one.version}: {one.summary}" for one in statuses]
        terminal.results(lines or ["no game has a champion yet"], _values(statuses))
    return DROPPED if any(one.dropped for one in statuses) else 0


def _values(statuses: tuple[ChampionStatus, ...]) -> dict[str, Any]:
    return {"champions": [one.model_dump() for one in statuses], "dropped": any(one.dropped for one in statuses)}
