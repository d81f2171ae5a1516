"""What a person at a terminal sees: a live bar, or plain lines when piped."""

from __future__ import annotations

import json
import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from tasks.arcade.inputs.fields import is_shown
from tasks.arcade.progress import Progress as TrainingProgress

_LINE_SECONDS = 10
_ENDLESS = 10_000
"""Columns of what is no terminal; rich would have it that there are 80, and cut what is longer."""


def _shown(line: str) -> str:
    """A line as it may be printed: names come from whoever shares the store, and some would steer a terminal."""
    return "".join(one if is_shown(one) else one.encode("unicode_escape").decode() for one in line)


class Terminal:
    """Progress to standard error, results to standard output, or all words to standard error under `--json`.

    Args:
        as_json: one JSON object is the last line of standard output; words go to standard error.
        quiet: no progress.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._errors = Console(stderr=True, highlight=False)
        self._words = self._errors if as_json else Console(highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            # Where there is little room it is the bar that gives way.
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[speed]:,.0f} steps/s  return {task.fields[mean]}  left"),
            TimeRemainingColumn(compact=True),
            console=self._errors,
        )
        self._bars: dict[str, TaskID] = {}
        self._told_at = -float("inf")

    def __enter__(self) -> Self:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._live:
            self._bar.stop()

    @property
    def _live(self) -> bool:
        return self._errors.is_terminal and not self._quiet

    def training(self, name: str, progress: TrainingProgress) -> None:
        """A training is this far."""
        if self._quiet:
            return
        if self._live:
            self._move(name, progress)
        elif progress.step >= progress.steps or time.monotonic() - self._told_at >= _LINE_SECONDS:
            self._told_at = time.monotonic()
            left = "" if progress.step >= progress.steps else f", {progress.seconds_left:.0f} s left"
            self._plain(f"{name}: {progress}{left}")

    def _move(self, name: str, progress: TrainingProgress) -> None:
        mean = "-" if progress.mean_return is None else f"{progress.mean_return:.1f}"
        shown: dict[str, Any] = {"speed": progress.steps_per_second, "mean": mean}
        if name not in self._bars:
            self._bars[name] = self._bar.add_task(_shown(name), total=progress.steps, **shown)
        self._bar.update(self._bars[name], completed=min(progress.step, progress.steps), **shown)

    def said(self, line: str) -> None:
        """Something worth a line is done."""
        if self._live:
            self._bar.console.print(_shown(line), markup=False)
        elif not self._quiet:
            self._plain(line)

    def _plain(self, line: str) -> None:
        print(_shown(line), file=sys.stderr, flush=True)

    def results(self, lines: list[str], values: dict[str, Any]) -> None:
        """What a command came to; progress is over."""
        self._stop()
        for line in lines:
            self._words.print(_shown(line), markup=False, soft_wrap=True)
        self.as_json(values)

    def table(self, columns: list[str], rows: list[list[str]], lines: list[str], values: dict[str, Any]) -> None:
        """What a command lists, and what follows from it."""
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(Text(_shown(cell)) for cell in row))
        self._stop()
        if not self._words.is_terminal:
            self._words.width = _ENDLESS
        self._words.print(table)
        self.results(lines, values)

    def as_json(self, values: dict[str, Any]) -> None:
        """The last line of standard output, if JSON was asked for."""
        if self._as_json:
            sys.stdout.write(json.dumps(values, allow_nan=False) + "\n")
            sys.stdout.flush()

    def error(self, message: str, values: dict[str, Any] | None = None) -> None:
        """One line on what is wrong; under `--json` beside what is there all the same."""
        self._stop()
        self._plain(f"ramreel: {' '.join(message.split())}")
        self.as_json({**(values or {}), "error": message})
