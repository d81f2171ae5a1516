"""What a retention deletes, as numbers and as lines to read."""

from __future__ import annotations

from collections.abc import Sized

from tasks.arcade.settings.base import Settings
from tasks.store import PrunePlan


class Pruned(Settings):
    """What was deleted, or would be.

    Attributes:
        runs: number of whole runs, those that were deleted in MLflow before included.
        videos: number of files of videos.
        training_states: number of training states.
        size: size of all of it in bytes.
        manual: number of runs that are kept because they were started by hand.
        deleted: whether it was deleted.
    """

    runs: int
    videos: int
    training_states: int
    size: int
    manual: int
    deleted: bool


def summarize(plan: PrunePlan, *, deleted: bool) -> Pruned:
    """Return the numbers of a plan."""
    return Pruned(
        runs=len(plan.runs) + len(plan.deleted_runs),
        videos=sum(len(one.files) for one in plan.videos),
        training_states=sum(len(one.steps) for one in plan.training_states),
        size=plan.size,
        manual=plan.manual,
        deleted=deleted,
    )


def plan_lines(plan: PrunePlan, *, deleted: bool) -> list[str]:
    """Return the lines that say what a plan deletes."""
    sizes = {
        f"{_count(plan.runs, 'run')}": sum(run.size for run in plan.runs),
        f"{_count(plan.deleted_runs, 'run')} deleted in MLflow before": sum(run.size for run in plan.deleted_runs),
        f"videos of {_count(plan.videos, 'run')}": sum(file.size for one in plan.videos for file in one.files),
        f"training states of {_count(plan.training_states, 'run')}": sum(
            file.size for one in plan.training_states for file in one.files
        ),
    }
    lines = [f"{what}: {readable_size(size)}" for what, size in sizes.items()]
    total = f"{'freed' if deleted else 'to free'}: {readable_size(plan.size)}"
    kept = [f"kept because started by hand: {_count(range(plan.manual), 'run')}"] if plan.manual else []
    return [*lines, total, *kept]


def readable_size(size: int) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{size / 10**9:,.1f} GB" if size >= 10**9 else f"{size / 10**6:,.1f} MB"


def _count(values: Sized, noun: str) -> str:
    number = len(values)
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
