"""Guard flow: check whether the champions still play as well as when they were crowned."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.unattended import GuardSettings
from tasks.arcade.plural_forms import pluralize
from tasks.champion import ChampionStatus, check_champion, games_with_champions
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.store import one_line


class GuardError(RamreelError):
    """Some champions could not be checked; the others were.

    Attributes:
        statuses: champions that were checked.
        failed: reasons by environment id.
    """

    def __init__(self, statuses: tuple[ChampionStatus, ...], failed: dict[str, str]) -> None:
        self.statuses, self.failed = statuses, failed
        reasons = "; ".join(f"{env_id}: {reason}" for env_id, reason in failed.items())
        total = len(failed) + len(statuses)
        super().__init__(f"{len(failed)} of {pluralize(total, 'champion')} could not be checked: {reasons}")


@flow(name="guard", flow_run_name="guard {settings.title}")
def guard(settings: GuardSettings) -> tuple[ChampionStatus, ...]:
    """Evaluate champions on fresh seeds; a drop in performance emits an event that triggers retraining.

    Raises:
        StoreError: the requested game has no champion, or the store is unavailable.
        GuardError: some champions could not be checked; the others were.
    """
    refuse_crash_loop()
    if settings.env_id:
        return (check_champion(settings.env_id, settings.episodes),)
    statuses, failed = list[ChampionStatus](), dict[str, str]()
    for env_id in games_with_champions():
        outcome = check_champion(env_id, settings.episodes, return_state=True).result(raise_on_failure=False)
        if isinstance(outcome, ChampionStatus):
            statuses.append(outcome)
        else:
            failed[env_id] = one_line(outcome)
    if failed:
        raise GuardError(tuple(statuses), failed)
    return tuple(statuses)
