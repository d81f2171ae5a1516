"""Messages arrive at a real webhook and a real mail server, and no notifier can hurt what it tells of."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.inboxes import Webhook, mail_server
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client

from tasks import notify
from tasks.execution.progress_sink import before

SECRET = "s3cr3t-t0ken"  # noqa: S105 - it is none


@pytest.fixture(autouse=True)
def everything_at_home(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(notify.ENVIRONMENT, raising=False)
    monkeypatch.setattr(notify.notify, "retry_delay_seconds", [0, 0])
    notify._say_once.cache_clear()


class Listener:
    """An audience that keeps what is said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def training(self, name: str, progress: object) -> None:
        pass

    def said(self, line: str) -> None:
        self.heard.append(line)


@flow(name="telling")
def telling(times: int = 1) -> str:
    for _ in range(times):
        notify.tell("ramreel: a milestone", "It plays better than random.\nVideo: http://127.0.0.1:5000/video")
    return "trained all the same"


def everything_in_prefect() -> str:
    """Logs, and parameters of flow runs and inputs of task runs, as one text."""
    with get_client(sync_client=True) as client:
        logs = [log.message for log in client.read_logs(limit=200)]
        flows = [run.model_dump_json() for run in client.read_flow_runs()]
        tasks = [run.model_dump_json() for run in client.read_task_runs()]
    return "\n".join([*logs, *flows, *tasks])


def test_a_message_arrives_at_a_webhook_of_the_environment(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notify.ENVIRONMENT, f"json://{webhook.at}/{SECRET}")
    assert telling() == "trained all the same"
    (message,) = webhook.got
    assert message["title"] == "ramreel: a milestone"
    assert "Video: http://127.0.0.1:5000/video" in message["message"]
    assert SECRET not in everything_in_prefect()


def test_a_message_arrives_by_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as box:
        monkeypatch.setenv(notify.ENVIRONMENT, box.address)
        telling()
    (message,) = box.got
    assert message["Subject"] == "ramreel: a milestone"
    assert message["X-RcptTo"] == "me@example.org"
    assert "better than random" in message.get_payload(0).get_payload(decode=True).decode()


def test_a_message_arrives_through_a_block(webhook: Webhook) -> None:
    block = CustomWebhookNotificationBlock(
        name="any",
        url=f"http://{webhook.at}/{SECRET}",
        json_data={"text": "{{subject}}: {{body}}", "key": "{{key}}"},
        secrets={"key": SECRET},
    )
    block.save(notify.BLOCK, overwrite=True)
    try:
        telling()
    finally:
        CustomWebhookNotificationBlock.delete(notify.BLOCK)
    (message,) = webhook.got
    assert message["text"].startswith("ramreel: a milestone: It plays better than random.")
    assert message["key"] == SECRET
    assert SECRET not in everything_in_prefect()


def test_nobody_to_tell_is_said_once() -> None:
    listener = Listener()
    with before(listener):
        assert telling(times=3) == "trained all the same"
    (line,) = listener.heard
    assert "set RAMREEL_NOTIFY" in line


@pytest.mark.parametrize("how", ["gone", "refusing", "no address"])
def test_a_notifier_that_is_down_hurts_nothing(webhook: Webhook, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    webhook.status = 500
    address = {
        "gone": f"json://127.0.0.1:9/{SECRET}",
        "refusing": f"json://{webhook.at}/{SECRET}",
        "no address": SECRET,
    }
    monkeypatch.setenv(notify.ENVIRONMENT, address[how])
    assert telling() == "trained all the same"
    assert len(webhook.got) == (3 if how == "refusing" else 0), "tried three times"
    assert SECRET not in everything_in_prefect()
