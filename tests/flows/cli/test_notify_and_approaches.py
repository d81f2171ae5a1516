"""`notify` tries the receivers, `approaches` lists what --approach takes."""

import json

import pytest
from helpers.inboxes import Webhook

from flows.cli.app import run
from tasks import notify
from tasks.arcade.settings.approaches import APPROACHES

SECRET = "s3cr3t"  # noqa: S105 - a dummy


@pytest.mark.parametrize("options", [[], ["--test"]])
def test_missing_receiver_is_named(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(notify.ENVIRONMENT, raising=False)
    assert run(["notify", *options]) == 2
    assert "set RAMREEL_NOTIFY" in capfd.readouterr().err


def test_receivers_are_tried_once_each(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(notify.ENVIRONMENT, f"json://{webhook.netloc}/{SECRET} nonsense-{SECRET}")
    assert run(["notify"]) == 0
    assert webhook.received == []
    capfd.readouterr()
    assert run(["notify", "--test", "--json"]) == 1
    printed = capfd.readouterr()
    values = json.loads(printed.out)
    assert len(values["receivers"]) == 2
    assert list(values["failed"]) == values["receivers"][1:]
    assert [message["title"] for message in webhook.received] == ["ramreel: test"]
    assert SECRET not in printed.out + printed.err


def test_every_approach_is_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["approaches"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(APPROACHES) + 1]] == list(APPROACHES)
    assert run(["approaches", "--json"]) == 0
    assert [one["name"] for one in json.loads(capfd.readouterr().out)["approaches"]] == list(APPROACHES)
