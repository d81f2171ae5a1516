"""Reader of `monitor.csv`, as written by Stable-Baselines3's Monitor: one row per training episode."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TextIO

from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, resolve
from tasks.arcade.external_runs.runs import (
    ExternalLog,
    ExternalRunError,
    Source,
    log_from_episodes,
    printable_path,
    require_finite,
)
from tasks.arcade.settings.game import GameSettings

_COLUMNS = ("r", "l", "t")


@dataclass(frozen=True)
class _MonitorEpisode:
    end_time: float
    episode_return: float
    length: int


def read_monitors(files: list[Path], game: GameSettings) -> ExternalLog:
    """Read all training episodes of a run, from one file per parallel environment.

    Raises:
        ExternalRunError: a file is not a `monitor.csv`, is truncated, or is of another game.
    """
    episodes = sorted((episode for file in files for episode in _read_file(file, game)), key=lambda one: one.end_time)
    if not episodes:
        raise ExternalRunError(f"{files[0]}: it contains no finished episode")
    steps = list(accumulate(episode.length for episode in episodes))
    sources = tuple(
        Source(file=printable_path(file), kind="Stable-Baselines3 monitor", taken="all episodes") for file in files
    )
    return log_from_episodes(sources, steps, [one.episode_return for one in episodes], [one.length for one in episodes])


def _read_file(file: Path, game: GameSettings) -> list[_MonitorEpisode]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            start_time, frames_per_step = _header(file, text.readline(10_000), game)
            return list(_rows(file, text, start_time, frames_per_step))
    except OSError as error:
        raise ExternalRunError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ExternalRunError(f"{file} is not a monitor.csv: {error}") from None


def _header(file: Path, line: str, game: GameSettings) -> tuple[float, int]:
    """Return the start time and the number of monitor steps per step of the game."""
    try:
        if not line.startswith("#"):
            raise ValueError
        header = json.loads(line[1:])
        start_time, env_id = float(header["t_start"]), str(header.get("env_id"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ExternalRunError(
            f"{file} is not a monitor.csv: its first line is not a header of Stable-Baselines3"
        ) from None
    try:
        monitored = resolve(env_id)
    except UnknownEnvironmentError:
        return require_finite(start_time, str(file)), 1
    if monitored.rom != game.rom:
        raise ExternalRunError(f"{file} is of {env_id}, not of {game.env_id}")
    return require_finite(start_time, str(file)), _frames_per_step(monitored, game)


def _frames_per_step(monitored: GameSettings, game: GameSettings) -> int:
    # The monitor wraps the environment below the wrapper that skips frames: with an id that skips no frames itself,
    # it counts frames.
    if isinstance(monitored.frame_skip, int) and isinstance(game.frame_skip, int):
        return max(game.frame_skip // monitored.frame_skip, 1)
    return 1


def _rows(file: Path, text: TextIO, start_time: float, frames_per_step: int) -> Iterator[_MonitorEpisode]:
    rows = csv.reader(text)
    columns = next(rows, [])
    if missing := [name for name in _COLUMNS if name not in columns]:
        available = f" Available: {', '.join(columns)}" if columns else " The file has no columns"
        raise ExternalRunError(f"{file}: missing column {', '.join(missing)}.{available}")
    indices = [columns.index(name) for name in _COLUMNS]
    for row in rows:
        where = f"{file}, line {rows.line_num + 1}"
        if len(row) != len(columns):
            raise ExternalRunError(f"{where}: {len(row)} of {len(columns)} columns. The file may be truncated")
        try:
            episode_return, length, seconds = (float(row[index]) for index in indices)
        except ValueError:
            raise ExternalRunError(f"{where}: not all values are numbers: {', '.join(row)[:60]!r}") from None
        if not 1 <= length <= 10**9:
            raise ExternalRunError(f"{where}: invalid episode length {length:g}")
        yield _MonitorEpisode(
            require_finite(start_time + seconds, where),
            require_finite(episode_return, where),
            max(int(length) // frames_per_step, 1),
        )
