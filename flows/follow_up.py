"""Follow-up flow of a finished training run: remaining videos, challenge of the champion, comparison."""

from __future__ import annotations

from prefect import flow

from flows.compare import compare
from flows.record import record
from tasks.arcade.inputs.forms import CompareSettings, RecordSettings
from tasks.arcade.inputs.unattended import FollowUpSettings
from tasks.arcade.settings.base import Settings
from tasks.champion import ChampionStatus, challenge, detect_collapse
from tasks.compare import ComparedRuns
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import named_after_runs
from tasks.execution.resolve_run import resolve_run
from tasks.follow_up import earlier_runs


class FollowUpResult(Settings):
    """Results of a follow-up; `collapse` is empty unless the run has collapsed."""

    champion: ChampionStatus
    collapse: str
    comparison: ComparedRuns


@flow(name="follow-up", flow_run_name=named_after_runs("follow up"))
def follow_up(settings: FollowUpSettings) -> FollowUpResult:
    """Record the remaining checkpoints, challenge the champion, and compare with earlier runs of the game.

    Raises:
        StoreError: no run matches.
        RecordError: some checkpoints could not be recorded.
    """
    refuse_crash_loop()
    run_id = resolve_run(settings.run)
    record(RecordSettings(run=run_id))
    status = challenge(run_id)
    collapse = detect_collapse(run_id)
    comparison = compare(CompareSettings(runs=(run_id, *earlier_runs(run_id, settings.earlier))))
    return FollowUpResult(champion=status, collapse=collapse, comparison=comparison)
