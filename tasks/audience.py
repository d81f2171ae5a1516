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


def audience() -> Audience:
    """Who listens now."""
    return _audience.get()
