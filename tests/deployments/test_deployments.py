"""What runs unattended is there, takes the parameters that it is given, and is off until switched on."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.automations import AutomationCore

from tasks import events

FOLDER = Path(__file__).parents[2] / "deployments"
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "prefect.yaml").read_text("utf-8"))["deployments"]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "automations.yaml").read_text("utf-8"))["automations"]
EVENTS = {value for name, value in vars(events).items() if name.isupper() and isinstance(value, str)}


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, name = deployment["entrypoint"].rsplit(".", 1)
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


def test_every_flow_that_is_promised_is_deployed() -> None:
    assert {"train", "record", "compare", "pipeline", "guard"} <= {one["name"] for one in DEPLOYMENTS}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_a_deployment_takes_its_parameters_and_is_off_until_switched_on(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    assert flow.validate_parameters(deployment["parameters"])["settings"].title
    assert deployment["description"].endswith(".")
    assert not any(schedule["active"] for schedule in deployment["schedules"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda one: one["name"])
def test_a_deployment_has_a_form_with_words_beside_every_field(deployment: dict[str, Any]) -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(flow_of(deployment)).model_dump()
    (settings,) = schema["properties"].values()
    name = settings["$ref"].rsplit("/", 1)[1] if "$ref" in settings else settings["allOf"][0]["$ref"].rsplit("/", 1)[1]
    fields = schema["definitions"][name]["properties"]
    nameless = [field for field, words in fields.items() if "description" not in words and "$ref" not in str(words)]
    assert nameless == []


def test_what_starts_by_an_event_waits_for_one_that_is_told() -> None:
    triggers = [trigger for one in DEPLOYMENTS for trigger in one.get("triggers", ())]
    assert {event for trigger in triggers for event in trigger["expect"]} <= EVENTS
    assert len(triggers) == 3
    readme = (FOLDER.parent / "README.md").read_text("utf-8")
    assert [event for event in EVENTS if f"`{event}`" not in readme] == []


@pytest.mark.parametrize("fields", AUTOMATIONS, ids=lambda one: one["name"])
def test_an_automation_is_one_that_prefect_understands(fields: dict[str, Any]) -> None:
    assert AutomationCore.model_validate(fields).actions
