"""Notifications arrive at a webhook and a mail server, and a failing receiver does no harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.inboxes import Webhook, mail_server
from helpers.processes import wait_until
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort, LogSort, TaskRunSort

from tasks import notify
from tasks.execution.progress_sink import ProgressSink, use_sink

SECRET = "s3cr3t-t0ken"  # noqa: S105 - a dummy


@pytest.fixture(autouse=True)
def everything_at_home(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(notify.ENVIRONMENT, raising=False)
    monkeypatch.setattr(notify.send_message, "retry_delay_seconds", [0, 0])
    notify._log_once.cache_clear()


class Recorder(ProgressSink):
    """A progress sink that keeps the log lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, name: str, progress: object) -> None:
        pass

    def log(self, line: str) -> None:
        self.lines.append(line)


@flow(name="notifying")
def notifying(times: int = 1) -> str:
    for _ in range(times):
        notify.notify("ramreel: a milestone", "It plays better than random.\nVideo: http://127.0.0.1:5000/video")
    return "trained all the same"


def everything_in_prefect() -> str:
    """Return all logs, parameters of flow runs and inputs of task runs as one text."""
    with get_client(sync_client=True) as client:
        logs = [log.message for log in client.read_logs(limit=200, sort=LogSort.TIMESTAMP_DESC)]
        flows = [run.model_dump_json() for run in client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC)]
        tasks = [run.model_dump_json() for run in client.read_task_runs(sort=TaskRunSort.EXPECTED_START_TIME_DESC)]
    return "\n".join([*logs, *flows, *tasks])


def test_webhook_of_the_environment_receives_a_message(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notify.ENVIRONMENT, f"json://{webhook.netloc}/{SECRET}")
    assert notifying() == "trained all the same"
    (message,) = webhook.received
    assert message["title"] == "ramreel: a milestone"
    assert "Video: http://127.0.0.1:5000/video" in message["message"]
    assert SECRET not in everything_in_prefect()


def test_mail_server_receives_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as mailbox:
        monkeypatch.setenv(notify.ENVIRONMENT, mailbox.address)
        notifying()
    (message,) = mailbox.received
    assert message["Subject"] == "ramreel: a milestone"
    assert message["X-RcptTo"] == "me@example.org"
    assert "better than random" in message.get_payload(0).get_payload(decode=True).decode()


def test_block_sends_a_message(webhook: Webhook) -> None:
    block = CustomWebhookNotificationBlock(
        name="any",
        url=f"http://{webhook.netloc}/{SECRET}",
        json_data={"text": "{{subject}}: {{body}}", "key": "{{key}}"},
        secrets={"key": SECRET},
    )
    block.save(notify.BLOCK, overwrite=True)
    try:
        notifying()
    finally:
        CustomWebhookNotificationBlock.delete(notify.BLOCK)
    (message,) = webhook.received
    assert message["text"].startswith("ramreel: a milestone: It plays better than random.")
    assert message["key"] == SECRET
    assert SECRET not in everything_in_prefect()


def test_missing_receiver_is_in_the_log_and_not_in_the_output() -> None:
    sink = Recorder()
    with use_sink(sink):
        assert notifying(times=3) == "trained all the same"
    assert sink.lines == []
    assert wait_until(lambda: notify.OFF in everything_in_prefect(), every=0.2)


@pytest.mark.parametrize("failure", ["unreachable", "refusing", "invalid address"])
def test_failing_receiver_does_no_harm(webhook: Webhook, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    webhook.status = 500
    address = {
        "unreachable": f"json://127.0.0.1:9/{SECRET}",
        "refusing": f"json://{webhook.netloc}/{SECRET}",
        "invalid address": SECRET,
    }
    monkeypatch.setenv(notify.ENVIRONMENT, address[failure])
    assert notifying() == "trained all the same"
    assert len(webhook.received) == (3 if failure == "refusing" else 0), "three attempts"
    assert SECRET not in everything_in_prefect()
