"""One `ramreel up` for all tests, with a webhook and a mailbox that receive its notifications."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.inboxes import Mailbox, Webhook, mail_server
from helpers.serving import serving
from helpers.unattended import Unattended


@pytest.fixture(scope="session")
def inbox() -> Iterator[Webhook]:
    with serving(Webhook()) as server:
        yield server


@pytest.fixture(scope="session")
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as mailbox:
        yield mailbox


@pytest.fixture(scope="session")
def up(inbox: Webhook, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unattended]:
    notify = f"json://{inbox.netloc}/ {mailbox.address}"
    with Unattended.running(tmp_path_factory.mktemp("home"), notify) as started:
        yield started
