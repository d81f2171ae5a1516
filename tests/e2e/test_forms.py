"""Prefect's forms, submitted unchanged in Chromium, create flow runs with valid parameters and without empty groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.browser import Tab, chromium, needs_chromium, visit
from helpers.unattended import Unattended
from prefect.flows import load_flow_from_entrypoint

from tasks.arcade.inputs.forms import PipelineSettings, RecordSettings
from tasks.arcade.inputs.unattended import GuardSettings
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings

SUBMIT = "[...document.querySelectorAll('button')].find((button) => button.textContent.trim() === 'Submit')"
LEFT = "!location.pathname.endsWith('/run')"
REFUSED = "document.body.innerText.includes('Something went wrong')"
ATTEMPTS = 20
"""On a busy machine, Prefect's server answers often that SQLite is busy, and the page asks to submit again."""
PIPELINE = PipelineSettings.model_validate(
    {
        "env_id": "ALE/Pong-v5",
        "approaches": ["ppo-tuned", "ppo"],
        "seeds": [0],
        "steps": 1_000_000,
        "checkpoint_every": 250_000,
        "evaluation": EvaluationSettings(),
    }
)


async def submit(tab: Tab) -> None:
    await tab.until("document.body.innerText.includes('Validate parameters')")
    for _ in range(ATTEMPTS):
        # The button moves while the page is loading: the mouse may miss it.
        await tab.value(f"{SUBMIT}.click()")
        await tab.until(f"{LEFT} || {REFUSED}")
        if await tab.value(LEFT):
            return
        await tab.until(f"!{REFUSED}")
    raise AssertionError("never submitted")


def flow_runs(up: Unattended, deployment: str) -> dict[str, Any]:
    query = {"deployments": {"id": {"any_": [deployment]}}}
    return {run["id"]: run for run in up.request("POST", "/flow_runs/filter", query)}


@needs_chromium
@pytest.mark.parametrize(
    ("name", "expected"),
    [("guard", GuardSettings()), ("pipeline", PIPELINE), ("record", RecordSettings(run="latest"))],
)
def test_form_that_is_submitted_unchanged(up: Unattended, name: str, expected: Settings, tmp_path: Path) -> None:
    deployment = up.deployments()[name]
    # The flow run itself is not wanted.
    up.request("PATCH", "/work_pools/ramreel", {"is_paused": True})
    try:
        before = flow_runs(up, deployment["id"])
        with chromium(tmp_path / "profile") as browser:
            visit(browser, f"{up.prefect}/deployments/deployment/{deployment['id']}/run", 1280, submit)
        (run,) = (run for key, run in flow_runs(up, deployment["id"]).items() if key not in before)
        up.request("DELETE", f"/flow_runs/{run['id']}")
    finally:
        up.request("PATCH", "/work_pools/ramreel", {"is_paused": False})
    flow = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.validate_parameters(run["parameters"])["settings"] == expected
