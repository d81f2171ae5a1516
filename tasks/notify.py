"""Messages to a person, through Apprise or a notification block of Prefect's.

Addresses hold secrets. They come from the environment or from blocks, and go into no parameter and no log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache

import prefect.blocks.notifications  # noqa: F401 - the kinds of block that can be loaded
from apprise import Apprise, AppriseAsset
from prefect import task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from tasks.arcade.errors import RamreelError
from tasks.execution.progress_sink import announce

ENVIRONMENT = "RAMREEL_NOTIFY"
"""Apprise's addresses, with spaces between."""
BLOCK = "ramreel"
"""Every notification block of this name is used, whatever its type."""
_RETRY_SECONDS = (2, 10)


class NotifyError(RamreelError):
    """Somebody could not be reached; the message says who, without what is secret of it."""


def tell(title: str, body: str) -> None:
    """Send a message to everybody who is to be told; nothing fails where that cannot be done."""
    try:
        senders = [name for name, _ in _senders()]
    except Exception as error:
        get_run_logger().warning("nobody was told: %s (%s)", title, type(error).__name__)
        return
    if not senders:
        _say_once(f"nobody is told: set {ENVIRONMENT}, or make a notification block {BLOCK!r} in Prefect")
    for name in senders:
        state = notify(name, title, body, return_state=True)
        if not state.is_completed():
            get_run_logger().warning("%s was not told: %s", name, title)


@task(task_run_name="notify {to}", retries=len(_RETRY_SECONDS), retry_delay_seconds=list(_RETRY_SECONDS))
def notify(to: str, title: str, body: str) -> None:
    """Send a message to one of those who are to be told.

    Raises:
        NotifyError: that is not reached.
    """
    send = dict(_senders())[to]
    try:
        sent = send(title, body)
    except Exception as error:
        # Its words may hold the address.
        raise NotifyError(f"{to} is not reached: {type(error).__name__}") from None
    if not sent:
        raise NotifyError(f"{to} is not reached")


@cache
def _say_once(words: str) -> None:
    announce(words)


def _senders() -> Iterator[tuple[str, Callable[[str, str], bool]]]:
    """What may be shown of each one's name, and how to send."""
    for number, address in enumerate(os.environ.get(ENVIRONMENT, "").split(), 1):
        yield _apprise(number, address)
    with get_client(sync_client=True) as client:
        for document in client.read_block_documents(include_secrets=False):
            schema, kind = document.block_schema, document.block_type
            if document.name == BLOCK and schema and kind and "notify" in schema.capabilities:
                yield f"{kind.slug}/{BLOCK}", _block(f"{kind.slug}/{BLOCK}")


def _apprise(number: int, address: str) -> tuple[str, Callable[[str, str], bool]]:
    client = Apprise(asset=AppriseAsset(app_id="ramreel", app_desc="ramreel", app_url=""))
    client.add(address)
    kind = client[0].service_name if len(client) else "an address that Apprise does not know"
    return f"{kind} ({ENVIRONMENT}, number {number})", lambda title, body: bool(client.notify(body=body, title=title))


def _block(name: str) -> Callable[[str, str], bool]:
    def send(title: str, body: str) -> bool:
        block = Block.load(name)
        assert isinstance(block, NotificationBlock)
        with block.raise_on_failure():
            sent = block.notify(body, title)
        assert sent is None
        return True

    return send
