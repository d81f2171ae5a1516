"""Who hears how a run goes, besides Prefect: the terminal sets itself here, a deployment has nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from tasks.arcade.progress import Progress


class Audience(Protocol):
    """Shows progress to a person."""

    def training(self, name: str, progress: Progress) -> None:
        """A training is this far."""
        ...

    def said(self, line: str) -> None:
        """Something worth a line is done."""
        ...


class _Nobody:
    def training(self, name: str, progress: Progress) -> None:
        pass

    def said(self, line: str) -> None:
        pass


_audience: ContextVar[Audience] = ContextVar("audience", default=_Nobody())  # noqa: B039 - it holds nothing


@contextmanager
def before(audience: Audience) -> Iterator[None]:
    """Everything inside is shown to this audience."""
    token = _audience.set(audience)
    try:
        yield
    finally:
        _audience.reset(token)


def announce(line: str) -> None:
    """Say a line in the log of the flow or task that runs, and to whoever listens."""
    # Whoever hears of videos that are proved, or of a benchmark, does not wait for Prefect to be imported.
    from prefect.logging import get_run_logger

    get_run_logger().info(line)
    audience().said(line)


def audience() -> Audience:
    """Who listens now."""
    return _audience.get()
