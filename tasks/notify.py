"""Notifications through Apprise, or through a notification block of Prefect's.

Addresses contain secrets. They come from the environment or from blocks, and appear in no parameter and no log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache

import prefect.blocks.notifications  # noqa: F401 - registers the block types
from apprise import Apprise, AppriseAsset
from prefect import task
from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from tasks.arcade.errors import RamreelError

ENVIRONMENT = "RAMREEL_NOTIFY"
"""Environment variable with Apprise URLs, separated by spaces."""
BLOCK = "ramreel"
"""Name of the notification blocks to use; every block with this name is used, whatever its type."""
_RETRY_SECONDS = (2, 10)


OFF = f"notifications are off: set {ENVIRONMENT}, or create a notification block {BLOCK!r} in Prefect"


class NotifyError(RamreelError):
    """A notification could not be sent; the message names the receiver without its secrets."""


def notify(title: str, body: str) -> None:
    """Send a message to every configured receiver; a failure is logged and raises nothing."""
    try:
        names = receivers()
    except Exception as error:
        get_run_logger().warning("no notification was sent: %s (%s)", title, type(error).__name__)
        return
    if not names:
        # In the log of the flow run only: a user without receivers need not read it after each command.
        _log_once(OFF)
    for name in names:
        state = send_message(name, title, body, return_state=True)
        if not state.is_completed():
            get_run_logger().warning("%s was not notified: %s", name, title)


@task(task_run_name="notify {to}", retries=len(_RETRY_SECONDS), retry_delay_seconds=list(_RETRY_SECONDS))
def send_message(to: str, title: str, body: str) -> None:
    """Send a message to one receiver.

    Raises:
        NotifyError: it could not be sent.
    """
    send = dict(_receivers())[to]
    try:
        sent = send(title, body)
    except Exception as error:
        # The exception's message may contain the address.
        raise NotifyError(f"could not notify {to}: {type(error).__name__}") from None
    if not sent:
        raise NotifyError(f"could not notify {to}")


def receivers() -> tuple[str, ...]:
    """Return the public names of all configured receivers."""
    return tuple(name for name, _ in _receivers())


def send_test() -> dict[str, str | None]:
    """Send a test message to each configured receiver, once; return the error of each, None if it was sent."""
    errors: dict[str, str | None] = {}
    for name in receivers():
        try:
            send_message.fn(name, "ramreel: test", "Notifications arrive here.")
        except NotifyError as error:
            errors[name] = str(error)
        else:
            errors[name] = None
    return errors


@cache
def _log_once(line: str) -> None:
    get_run_logger().info(line)


def _receivers() -> Iterator[tuple[str, Callable[[str, str], bool]]]:
    """Yield the public name of each receiver and the function that sends to it."""
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
    kind = client[0].service_name if len(client) else "unknown service"
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
