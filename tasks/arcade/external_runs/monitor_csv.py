"""Reader of `monitor.csv`, as written by Stable-Baselines3's Monitor: one row per training episode.

Within a file the order of the rows is the order of training. The column `t`, seconds since the start by the wall clock,
only merges the files of parallel environments: it starts again when a second training session appends to a file, and
falls when the clock is set back.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tasks.arcade.external_runs.runs import (
    Declared,
    Episodes,
    ExternalRunError,
    RawLog,
    Source,
    printable_path,
    require_finite,
)
from tasks.arcade.text_files import encoding_of

_COLUMNS = ("r", "l", "t")


@dataclass(frozen=True)
class _MonitorEpisode:
    session: int
    end_time: float
    episode_return: float
    length: int


def read_monitors(files: list[Path]) -> RawLog:
    """Read all training episodes of a run, from one file per parallel environment.

    Raises:
        ExternalRunError: a file is not a `monitor.csv`, or is truncated.
    """
    read = [_read_file(file) for file in files]
    # The sort is stable and a file is already in this order: only files are merged.
    episodes = sorted((one for _, rows in read for one in rows), key=lambda one: (one.session, one.end_time))
    if not episodes:
        raise ExternalRunError(f"{files[0]}: it contains no finished episode")
    sources = tuple(
        Source(file=printable_path(file), kind="Stable-Baselines3 monitor", taken=_taken(rows))
        for file, (_, rows) in zip(files, read, strict=True)
    )
    return RawLog(
        sources,
        episodes=Episodes(
            tuple(one.episode_return for one in episodes), tuple(one.length for one in episodes), n_files=len(files)
        ),
        declared=tuple(Declared(file.name, env_id) for file, (env_id, _) in zip(files, read, strict=True)),
    )


def _taken(rows: list[_MonitorEpisode]) -> str:
    sessions = rows[-1].session + 1 if rows else 1
    return "all episodes" if sessions == 1 else f"all episodes of {sessions} training sessions"


def _read_file(file: Path) -> tuple[str | None, list[_MonitorEpisode]]:
    """Return the environment id, if the header has one, and the episodes."""
    try:
        with file.open("rb") as start:
            encoding = encoding_of(start.read(4))
        with file.open(encoding=encoding, newline="") as text:
            start_time, env_id = _header(file, text.readline(10_000))
            return env_id, list(_rows(file, text, start_time))
    except OSError as error:
        raise ExternalRunError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeError, csv.Error) as error:
        raise ExternalRunError(f"{file} is not a monitor.csv: {error}") from None


def _header(file: Path, line: str) -> tuple[float, str | None]:
    """Return the start time and the environment id."""
    try:
        if not line.startswith("#"):
            raise ValueError
        header = json.loads(line[1:])
        start_time, env_id = float(header["t_start"]), header.get("env_id")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ExternalRunError(
            f"{file} is not a monitor.csv: its first line is not a header of Stable-Baselines3"
        ) from None
    return require_finite(start_time, str(file)), env_id if isinstance(env_id, str) and env_id != "None" else None


def _rows(file: Path, text: TextIO, start_time: float) -> Iterator[_MonitorEpisode]:
    rows = csv.reader(text)
    # A blank line is a row without cells, or with a single one of spaces.
    filled = ([cell.strip() for cell in row] for row in rows if len(row) > 1 or "".join(row).strip())
    columns = next(filled, [])
    if missing := [name for name in _COLUMNS if name not in columns]:
        available = f" Available: {', '.join(columns)}" if columns else " The file has no columns"
        raise ExternalRunError(f"{file}: missing column {', '.join(missing)}.{available}")
    indices = [columns.index(name) for name in _COLUMNS]
    session, last = 0, float("-inf")
    for row in filled:
        where = f"{file}, line {rows.line_num + 1}"
        if len(row) != len(columns):
            raise ExternalRunError(f"{where}: {len(row)} of {len(columns)} columns. The file may be truncated")
        try:
            episode_return, length, seconds = (float(row[index]) for index in indices)
        except ValueError:
            raise ExternalRunError(f"{where}: not all values are numbers: {', '.join(row)[:60]!r}") from None
        if not 1 <= length <= 10**9:
            raise ExternalRunError(f"{where}: invalid episode length {length:g}")
        end_time = require_finite(start_time + seconds, where)
        session, last = session + (end_time < last), end_time
        yield _MonitorEpisode(session, end_time, require_finite(episode_return, where), int(length))
