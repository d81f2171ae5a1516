"""A child flow run: the flow, its settings, and the child run that follows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect import Flow

from tasks.arcade.errors import RamreelError
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.settings.base import Settings


@dataclass(frozen=True)
class ChildRun:
    """A flow run that a parent starts.

    Attributes:
        flow: the flow, with `settings` as its one parameter.
        settings: them.
        key: identifies it among all child runs of its flow and its parent: a parent that is started again finds it.
        then: called when it has completed; returns the child run that follows it, or None.
    """

    flow: Flow[..., Any]
    settings: Settings
    key: str
    then: Callable[[], ChildRun | None] | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.flow.name} {self.key}"

    def following(self) -> ChildRun | None:
        """Return the child run that follows this completed one."""
        return self.then() if self.then else None


@dataclass(frozen=True)
class FailedChild:
    """A child run that did not complete, and the reason in one line."""

    key: str
    title: str
    reason: str

    @classmethod
    def of(cls, child: ChildRun, reason: str) -> FailedChild:
        """Return the failure of a child run."""
        return cls(child.key, child.title, reason)


class ChildRunsError(RamreelError):
    """Some child runs did not complete; the others did."""

    def __init__(self, failed: Sequence[FailedChild], total: int, rest: str = "") -> None:
        reasons = "; ".join(f"{child.title}: {child.reason}" for child in failed)
        found = f"{len(failed)} of {pluralize(total, 'run')} did not complete"
        super().__init__(f"{found}: {reasons}{rest and f'; {rest}'}")
