"""How many training runs share a machine, and how many cores each of them gets."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.arcade.rollouts.memory_limit import available_memory
from tasks.arcade.rollouts.worker_pool import cores

RUN_BYTES = 1_500_000_000
"""Memory of a training run: 0.6 GB for its process, 0.2 GB for each of a few worker processes, and a replay buffer."""


@dataclass(frozen=True)
class MachineShare:
    """How many runs share the machine, and the number of cores of each."""

    at_once: int
    cores: int


def machine_share(runs: int, workers: int | None) -> MachineShare:
    """Return how many of some training runs to execute at the same time.

    A run whose learner trains leaves cores idle, which another run fills: as many runs as there are cores, if they fit
    into memory. Fewer get more cores each where that ends the last one no later.

    Args:
        runs: number of runs.
        workers: number of worker processes of each (default: its cores).
    """
    runs = max(runs, 1)
    at_most = max(1, min(runs, cores() // (workers or 1), available_memory() // RUN_BYTES))
    # Five runs on four cores take two rounds in any case: three at the same time, then two.
    at_once = _ceil_div(runs, _ceil_div(runs, at_most))
    return MachineShare(at_once, max(1, cores() // at_once))


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
