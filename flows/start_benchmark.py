"""Start-up cost of commands: seconds to the first line, to the end, and CPU seconds of all their processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.commands import StartBenchmarkSettings
from tasks.arcade.settings.base import Settings
from tasks.store import one_line


class StartBenchmarkError(RamreelError):
    """A measured command failed; the message is its last line."""


class CommandCost(Settings):
    """Cost of one command.

    Attributes:
        first_line: seconds until it prints something.
        seconds: seconds until it has exited.
        cpu_seconds: CPU seconds of its process and of all that it started and waited for.
    """

    first_line: float
    seconds: float
    cpu_seconds: float

    @classmethod
    def median_of(cls, costs: list[CommandCost]) -> CommandCost:
        """Return the medians over several measurements."""
        return cls(**{name: median(getattr(one, name) for one in costs) for name in cls.model_fields})


def measure_start(settings: StartBenchmarkSettings, home: Path, log: Callable[[str], None]) -> dict[str, CommandCost]:
    """Measure commands over a home that other commands have used before, `rounds` times in turn.

    Args:
        settings: what is trained, and how often.
        home: an empty folder.
        log: receives a line per measurement.

    Raises:
        StartBenchmarkError: a command failed.
    """
    train = ["train", settings.env_id, "--steps", str(settings.steps)]
    commands = {
        "train": train,
        "record": ["record", "latest", "--episodes", "1"],
        "record, nothing to do": ["record", "latest", "--episodes", "1"],
        "train --resume, finished": ["train", "--resume", "latest"],
        "status": ["status"],
    }
    first = _cost(train, home)
    log(f"first command, train: {first.cpu_seconds:.1f} CPU seconds")
    costs: dict[str, list[CommandCost]] = {name: [] for name in commands}
    for number in range(1, settings.rounds + 1):
        for name, command in commands.items():
            costs[name].append(cost := _cost(command, home))
            log(f"round {number} of {settings.rounds}, {name}: {cost.cpu_seconds:.1f} CPU seconds")
    return {"train, first command": first, **{name: CommandCost.median_of(found) for name, found in costs.items()}}


def _cost(arguments: list[str], home: Path) -> CommandCost:
    started, used = time.monotonic(), _cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-m", "flows", *arguments],
        env=_environment(home),
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        first_line = time.monotonic() - started
        lines += process.stdout
    if process.returncode:
        raise StartBenchmarkError(f"ramreel {arguments[0]} failed: {one_line(ValueError(lines[-1]))}")
    return CommandCost(first_line=first_line, seconds=time.monotonic() - started, cpu_seconds=_cpu_seconds() - used)


def _environment(home: Path) -> Mapping[str, str]:
    foreign = ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
    return {name: value for name, value in os.environ.items() if name not in foreign} | {"RAMREEL_HOME": str(home)}


def _cpu_seconds() -> float:
    """Return the CPU seconds of all processes that have ended, and of those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
