"""Task of the verify flow: proofs of a run's videos, and an artifact of them."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import Settings
from tasks.execution.links import page_url
from tasks.execution.progress_sink import log_message
from tasks.runs.verify import verify_run
from tasks.store import open_store


class VerificationError(RamreelError):
    """A video does not show what its trace says; the message is the first difference."""


class VerifiedRun(Settings):
    """The videos of a run that were verified."""

    run_id: str
    videos: int
    steps_checked: int


@task(task_run_name="verify the videos of run {run_id}")
def verify_videos(run_id: str) -> VerifiedRun:
    """Verify the videos of a run, and create an artifact with a line per video.

    Raises:
        StoreError: the run has no video.
        VerificationError: a video does not show what its trace says.
    """
    store = open_store()
    name, proofs = store.run(run_id).name, verify_run(store, run_id)
    for proof in proofs:
        log_message(proof.line)
    heading = [f"# Verification of {name}", "", f"[Run in MLflow]({page_url(store, run_id)})", ""]
    lines = [f"- {'verified' if proof.ok else '**differs**'}: {proof.line}" for proof in proofs]
    key = f"verify-{run_id[:8]}"
    create_markdown_artifact("\n".join([*heading, *lines, ""]), key=key, description=f"Verification of {name}")
    if failed := next((proof for proof in proofs if not proof.ok), None):
        raise VerificationError(failed.line)
    return VerifiedRun(run_id=run_id, videos=len(proofs), steps_checked=sum(one.steps_checked for one in proofs))
