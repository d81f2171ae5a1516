"""Look whether the champions still play as they did when they were crowned."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.forms import GuardSettings
from tasks.champion import ChampionStatus, champions, inspect
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.store import one_line


class GuardError(RamreelError):
    """Some champions could not be looked at; the others were. `standings` and `failed` say which."""

    def __init__(self, standings: tuple[ChampionStatus, ...], failed: dict[str, str]) -> None:
        self.standings, self.failed = standings, failed
        reasons = "; ".join(f"{env_id}: {reason}" for env_id, reason in failed.items())
        number = len(failed) + len(standings)
        super().__init__(f"{len(failed)} of {number} champions could not be looked at: {reasons}")


@flow(name="guard", flow_run_name="guard {settings.title}")
def guard(settings: GuardSettings) -> tuple[ChampionStatus, ...]:
    """Have champions play fresh seeds; one that plays worse is told of, and an automation trains again.

    Raises:
        StoreError: the game that is asked for has no champion, or the store is away.
        GuardError: some of all champions could not be looked at; the others were.
    """
    refuse_crash_loop()
    if settings.env_id:
        return (inspect(settings.env_id, settings.episodes),)
    standings, failed = list[ChampionStatus](), dict[str, str]()
    for env_id in champions():
        outcome = inspect(env_id, settings.episodes, return_state=True).result(raise_on_failure=False)
        if isinstance(outcome, ChampionStatus):
            standings.append(outcome)
        else:
            failed[env_id] = one_line(outcome)
    if failed:
        raise GuardError(tuple(standings), failed)
    return tuple(standings)
