"""One `ramreel up` for the whole story, a webhook and a postbox that it tells."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from helpers.inboxes import Postbox, Webhook, mail_server
from helpers.unattended import Unattended


@pytest.fixture(scope="session")
def inbox() -> Iterator[Webhook]:
    with Webhook() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def postbox() -> Iterator[Postbox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="session")
def up(inbox: Webhook, postbox: Postbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unattended]:
    with pytest.MonkeyPatch.context() as patch:
        # Whoever runs the tests may have servers of their own.
        for name in [name for name in os.environ if name.startswith(("PREFECT_", "MLFLOW_", "RAMREEL_"))]:
            patch.delenv(name)
        started = Unattended(tmp_path_factory.mktemp("home"), f"json://{inbox.at}/ {postbox.address}")
        try:
            started.start()
            yield started
        finally:
            started.end()
