"""`ramreel notify`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows.cli.options import OPTIONS, Json
from flows.cli.session import InvalidInputError, announce, configure_prefect, flow_session

Test = Annotated[bool, Parameter(name="--test", help="Send a test message to each receiver", group=OPTIONS)]


def notify(*, test: Test = False, as_json: Json = False) -> int:
    """List the receivers of notifications: RAMREEL_NOTIFY and the notification blocks in Prefect."""
    announce("notifications")
    configure_prefect()
    with flow_session("tasks.notify", as_json) as terminal:
        from tasks.notify import OFF, receivers, send_test

        found = send_test() if test else dict.fromkeys(receivers())
        if not found:
            raise InvalidInputError(OFF)
        failed = {name: error for name, error in found.items() if error}
        done = "notified" if test else "is notified"
        terminal.results(
            [f"{name}: {failed.get(name, done)}" for name in found],
            {"receivers": list(found), "failed": failed},
        )
    return 1 if failed else 0
