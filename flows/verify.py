"""Verify flow: prove that the videos of a run show what its checkpoints do."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.inputs.forms import VerifyRunSettings
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.flow_run_names import named_after_runs
from tasks.execution.resolve_run import resolve_run
from tasks.verify import VerifiedRun, verify_videos


@flow(name="verify", flow_run_name=named_after_runs("verify"))
def verify(settings: VerifyRunSettings) -> VerifiedRun:
    """Replay the traces of a run's videos, and compare RAM, rewards and every frame with the recording.

    Raises:
        StoreError: no run matches, or it has no video.
        VerificationError: a video does not show what its trace says.
    """
    refuse_crash_loop()
    return verify_videos(resolve_run(settings.run))
