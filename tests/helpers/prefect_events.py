"""Events in Prefect's event feed, where they appear a moment after they were emitted."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client

from helpers.processes import wait_until


def payloads(event: str) -> list[dict[str, Any]]:
    """Return the payloads of the events with this name, latest first."""
    with get_client(sync_client=True) as client:
        page = client.request("POST", "/events/filter", json={"filter": {"event": {"name": [event]}}}).json()
    return [found["payload"] for found in page["events"]]


def is_emitted(event: str, **payload: Any) -> bool:
    """Wait until the latest event with this name has these items in its payload; return whether it has."""
    return wait_until(
        lambda: any(payload.items() <= found.items() for found in payloads(event)[:1]), seconds=20, every=0.2
    )
