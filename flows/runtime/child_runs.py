"""Execution of child flow runs: side by side in processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from flows.runtime.child_run import ChildRun, FailedChild
from flows.runtime.local_child_runs import run_side_by_side
from flows.runtime.machine_share import machine_share
from tasks.store import one_line


def run_children(children: Sequence[ChildRun], workers: int | None) -> tuple[FailedChild, ...]:
    """Execute child runs, each followed by its next one, and wait for all of them.

    Several are executed at the same time, each in a process of its own; a single one in this process. A child run that
    fails does not end the others.

    Args:
        children: the child runs; of those with equal keys, the first is executed.
        workers: number of worker processes of each (default: an equal share of the cores).

    Returns:
        Those that failed.
    """
    distinct = list({child.key: child for child in reversed(children)}.values())[::-1]
    share = machine_share(len(distinct), workers)
    return run_in_turn(distinct) if share.at_once == 1 else run_side_by_side(distinct, share)


def run_in_turn(children: Sequence[ChildRun]) -> tuple[FailedChild, ...]:
    """Execute child runs in this process, one after the other."""
    return tuple(failed for child in children if (failed := _run(child)))


def _run(child: ChildRun) -> FailedChild | None:
    try:
        child.flow(child.settings)
        following = child.following()
    except Exception as error:
        return FailedChild(child.title, one_line(error))
    return _run(following) if following else None
