"""Runs that nobody started by hand: a schedule or an automation did, and a retention may delete them."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from tasks.store import AUTOMATIC_TAG

_AUTOMATION = "AUTOMATION"
"""Prefect's type of the creator of a flow run that an automation started."""


def automatic_tag() -> Mapping[str, str]:
    """Return the tag of a run if a schedule or an automation started the outermost flow run; otherwise no tag."""
    with get_client(sync_client=True) as client:
        root = client.read_flow_run(UUID(flow_run.root_flow_run_id))
    if root.auto_scheduled:
        return {AUTOMATIC_TAG: "schedule"}
    if root.created_by and root.created_by.type == _AUTOMATION:
        return {AUTOMATIC_TAG: "automation"}
    return {}
