"""Output of a command: a live progress bar on a terminal, plain lines in a pipe, JSON for scripts."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from tasks.arcade.inputs.fields import is_printable
from tasks.arcade.progress import CheckpointProgress
from tasks.arcade.progress import Progress as TrainingProgress

_LINE_SECONDS = 10
_SILENT_SECONDS = 25
"""Time without a line after which a pipe gets one."""
_UNLIMITED = 10_000
"""Columns of a pipe, for which rich assumes 80."""


def _printable(line: str) -> str:
    """Escape what could control a terminal: names come from everyone who shares the store."""
    return "".join(one if is_printable(one) else one.encode("unicode_escape").decode() for one in line)


@dataclass
class _Recording:
    """The checkpoints that a run records: completed share of each by its number."""

    total: int
    started: float = field(default_factory=time.monotonic)
    shares: dict[int, float] = field(default_factory=dict)

    @property
    def done(self) -> float:
        """Checkpoints recorded so far, with fractions."""
        return sum(self.shares.values())

    @property
    def seconds_left(self) -> float:
        return (time.monotonic() - self.started) * (self.total - self.done) / max(self.done, 1e-3)


class Terminal:
    """Prints progress to standard error and results to standard output, or both to standard error with `--json`.

    Args:
        as_json: print one JSON object as the last line of standard output, and everything else to standard error.
        quiet: print no progress.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._errors = Console(stderr=True, highlight=False)
        self._results = self._errors if as_json else Console(highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            # On a narrow terminal the bar shrinks, not the numbers.
            TextColumn("{task.fields[count]}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[details]}  left"),
            TimeRemainingColumn(compact=True),
            console=self._errors,
        )
        self._bars: dict[str, TaskID] = {}
        self._last_lines: dict[str, float] = {}
        self._recordings: dict[str, _Recording] = {}
        self._started = self._last_printed = time.monotonic()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        elif not self._quiet:
            threading.Thread(target=self._break_silence, name="ramreel-terminal", daemon=True).start()
        return self

    def _break_silence(self) -> None:
        while not self._stopped.wait(max(self._last_printed + _SILENT_SECONDS - time.monotonic(), 0.1)):
            if time.monotonic() - self._last_printed >= _SILENT_SECONDS:
                self._print_error(f"still running after {time.monotonic() - self._started:,.0f} s")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        self._stopped.set()
        if self._live:
            self._progress.stop()

    @property
    def _live(self) -> bool:
        return self._errors.is_terminal and not self._quiet

    def update(self, name: str, progress: TrainingProgress) -> None:
        """Show the progress of a training run: a bar, or in a pipe a line at most once in 10 seconds and at its end."""
        if self._quiet:
            return
        finished = progress.step >= progress.steps
        if self._live:
            mean = "-" if progress.mean_return is None else f"{progress.mean_return:.1f}"
            details = f"{progress.steps_per_second:,.0f} steps/s  return {mean}"
            step = min(progress.step, progress.steps)
            self._update_bar(name, step, progress.steps, f"{step}/{progress.steps}", details)
        elif finished or self._is_due(name):
            self._last_lines[name] = time.monotonic()
            left = "" if finished else f", {progress.seconds_left:.0f} s left"
            self._print_error(f"{name}: {progress}{left}")

    def update_recording(self, name: str, progress: CheckpointProgress) -> None:
        """Show the progress of a checkpoint that a run records: a bar per run, or lines in a pipe as of `update`."""
        if self._quiet:
            return
        recording = self._recordings.setdefault(name, _Recording(progress.total))
        recording.shares[progress.number] = progress.share
        title = f"record {name}"
        if self._live:
            finished = sum(share >= 1 for share in recording.shares.values())
            details = "" if progress.recording is None else str(progress.recording)
            self._update_bar(title, recording.done, progress.total, f"{finished}/{progress.total}", details)
        elif progress.recording is not None and self._is_due(title):
            self._last_lines[title] = time.monotonic()
            self._print_error(f"{title}: {progress}, {recording.seconds_left:.0f} s left")

    def _is_due(self, name: str) -> bool:
        return time.monotonic() - self._last_lines.get(name, -math.inf) >= _LINE_SECONDS

    def _update_bar(self, name: str, completed: float, total: int, count: str, details: str) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(_printable(name), total=total, count=count, details=details)
        self._progress.update(self._bars[name], completed=completed, count=count, details=details)

    def log(self, line: str) -> None:
        """Print a line of progress."""
        if self._live:
            self._progress.console.print(_printable(line), markup=False)
        elif not self._quiet:
            self._print_error(line)

    def _print_error(self, line: str) -> None:
        self._last_printed = time.monotonic()
        print(_printable(line), file=sys.stderr, flush=True)

    def line(self, line: str) -> None:
        """Print one line of the results."""
        self._last_printed = time.monotonic()
        self._results.print(_printable(line), markup=False, soft_wrap=True)

    def results(self, lines: list[str], values: dict[str, Any]) -> None:
        """End the progress, and print the results of the command."""
        self._stop()
        for line in lines:
            self.line(line)
        self._print_json(values)

    def table(self, columns: list[str], rows: list[list[str]], lines: list[str], values: dict[str, Any]) -> None:
        """End the progress, and print the results of the command as a table and lines below it."""
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(_printable(cell)) for cell in row))
        self._stop()
        if not self._results.is_terminal:
            self._results.width = _UNLIMITED
        self._results.print(table)
        self.results(lines, values)

    def error(self, message: str, values: dict[str, Any] | None = None) -> None:
        """Print an error as one line; with `--json` also as `error` of the object that holds `values`."""
        self._stop()
        self._print_error(f"ramreel: {' '.join(message.split())}")
        self._print_json({**(values or {}), "error": message})

    def _print_json(self, values: dict[str, Any]) -> None:
        if self._as_json:
            sys.stdout.write(json.dumps(values, allow_nan=False) + "\n")
            sys.stdout.flush()
