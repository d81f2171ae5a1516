"""Which failures of a task are worth another try: those that may be over by then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State, TaskRun


def only_after(*passing: type[Exception]) -> Callable[[Any, TaskRun, State[Any]], bool]:
    """A task's `retry_condition_fn`: tried again after these failures, and after no others."""

    def worth_a_retry(_: Any, __: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.result(raise_on_failure=False), passing)

    return worth_a_retry
