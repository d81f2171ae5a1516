"""The progress sink: where runs report progress besides Prefect. A command sets its terminal; deployments have none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from tasks.arcade.progress import CheckpointProgress, Progress


class ProgressSink(Protocol):
    """Receives progress and log lines."""

    def update(self, name: str, progress: Progress) -> None:
        """Show the progress of a training run."""
        ...

    def update_recording(self, name: str, progress: CheckpointProgress) -> None:
        """Show the progress of a checkpoint that a run records."""
        ...

    def log(self, line: str) -> None:
        """Show one line."""
        ...


class _NullSink:
    def update(self, name: str, progress: Progress) -> None:
        pass

    def update_recording(self, name: str, progress: CheckpointProgress) -> None:
        pass

    def log(self, line: str) -> None:
        pass


_sink: ContextVar[ProgressSink] = ContextVar("sink", default=_NullSink())  # noqa: B039 - it has no state


@contextmanager
def use_sink(sink: ProgressSink) -> Iterator[None]:
    """Report progress to this sink within the block."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


def log_message(line: str) -> None:
    """Log a line with the logger of the current flow or task run, and to the current sink."""
    # Importing Prefect takes seconds: commands that run no flow use the sink without it.
    from prefect.logging import get_run_logger

    get_run_logger().info(line)
    current_sink().log(line)


def current_sink() -> ProgressSink:
    """Return the sink that is in use."""
    return _sink.get()
