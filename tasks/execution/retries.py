"""Which failures of a task are worth another try: those that may be over by then."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from prefect.client.schemas.objects import State, TaskRun

from tasks.arcade.drawing.mp4_encoder import VideoError


def only_after(*passing: type[Exception]) -> Callable[[Any, TaskRun, State[Any]], bool]:
    """A task's `retry_condition_fn`: tried again after these failures, and after no others."""

    def worth_a_retry(_: Any, __: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.result(raise_on_failure=False), passing)

    return worth_a_retry


after_a_death = only_after(VideoError, BrokenProcessPool)
"""An encoder or a process that died may live next time; a damaged checkpoint stays damaged."""
