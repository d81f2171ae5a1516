"""Execution of child flow runs: on the workers of a Prefect server, or side by side in processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.runtime import deployment

from flows.runtime.child_run import ChildRun, FailedChild
from flows.runtime.deployed_child_runs import has_workers, run_on_workers
from flows.runtime.local_child_runs import run_side_by_side
from flows.runtime.machine_share import machine_share
from tasks.services.temporary_server import uses_temporary_server
from tasks.store import one_line, open_store


def run_children(children: Sequence[ChildRun], workers: int | None = None) -> tuple[FailedChild, ...]:
    """Execute child runs, each followed by its next one, and wait for all of them.

    Where a Prefect server has workers that use the same store, they execute them. Otherwise this machine does, several
    at the same time, each in a process of its own, or a single one in this process. A child run that fails does not end
    the others.

    Args:
        children: the child runs; of those with equal titles, the first is executed.
        workers: number of worker processes of each on this machine (default: an equal share of the cores).

    Returns:
        Those that failed.
    """
    distinct = list({child.title: child for child in reversed(children)}.values())[::-1]
    if _shares_store() and distinct and has_workers(distinct):
        return run_on_workers(distinct)
    share = machine_share(len(distinct), workers)
    return run_in_turn(distinct) if share.at_once == 1 else run_side_by_side(distinct, share)


def _shares_store() -> bool:
    """Return whether workers of the Prefect server can use this store: it is a server, or a worker executes this."""
    return not uses_temporary_server() and (deployment.id is not None or open_store().address.database is None)


def run_in_turn(children: Sequence[ChildRun]) -> tuple[FailedChild, ...]:
    """Execute child runs in this process, one after the other."""
    return tuple(failed for child in children if (failed := _run(child)))


def _run(child: ChildRun) -> FailedChild | None:
    try:
        child.flow(child.settings)
        following = child.following()
    except Exception as error:
        return FailedChild.of(child, one_line(error))
    return _run(following) if following else None
