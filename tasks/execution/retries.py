"""Which failures of a task are retried: those that may not occur again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from prefect.client.schemas.objects import State, TaskRun

from tasks.arcade.drawing.video_format import VideoError


def retry_on(*transient: type[Exception]) -> Callable[[Any, TaskRun, State[Any]], bool]:
    """Return a task's `retry_condition_fn` that retries after these exceptions only."""

    def should_retry(_: Any, __: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.result(raise_on_failure=False), transient)

    return should_retry


retry_on_process_death = retry_on(VideoError, BrokenProcessPool)
"""Retries after the death of an encoder or a worker process; a damaged checkpoint stays damaged."""
