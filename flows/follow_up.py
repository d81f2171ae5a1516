"""What follows a training: the rest of its videos, a challenge to the champion, a report beside earlier trainings."""

from __future__ import annotations

from prefect import flow

from flows.compare import compare
from flows.record import record
from tasks.arcade.inputs.forms import CompareSettings, FollowUpSettings, RecordSettings
from tasks.arcade.settings.base import Settings
from tasks.champion import ChampionStatus, challenge, look_for_collapse
from tasks.compare import ComparedRuns
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import titled
from tasks.follow_up import earlier_trainings


class FollowedUp(Settings):
    """What a training came to."""

    champion: ChampionStatus
    collapsed: str
    comparison: ComparedRuns


@flow(name="follow-up", flow_run_name=titled("follow up"))
def follow_up(settings: FollowUpSettings) -> FollowedUp:
    """Video what is not recorded yet, challenge the champion, compare with the earlier trainings of the game.

    Raises:
        StoreError: there is no such training.
        RecordError: some checkpoints could not be recorded.
    """
    refuse_crash_loop()
    run_id = record(RecordSettings(run=settings.run)).run_id
    standing = challenge(run_id)
    lost = look_for_collapse(run_id)
    compared = compare(CompareSettings(runs=(run_id, *earlier_trainings(run_id, settings.earlier))))
    return FollowedUp(champion=standing, collapsed=lost, comparison=compared)
