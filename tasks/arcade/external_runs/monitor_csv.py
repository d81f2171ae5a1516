"""The `monitor.csv` that Stable-Baselines3's Monitor writes: a row an episode of training."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TextIO

from tasks.arcade.emulator.emulator import UnknownGameError, resolve
from tasks.arcade.external_runs.runs import ForeignError, ForeignLog, Source, finite, of_episodes, readable
from tasks.arcade.settings.game import GameSettings

_COLUMNS = ("r", "l", "t")


@dataclass(frozen=True)
class _Episode:
    ended: float
    episode_return: float
    length: int


def read(files: list[Path], game: GameSettings) -> ForeignLog:
    """All episodes of a run, of one file or, of several environments side by side, one file each.

    Raises:
        ForeignError: a file is no such file, is cut off, or is of another game.
    """
    episodes = sorted((episode for file in files for episode in _read(file, game)), key=lambda one: one.ended)
    if not episodes:
        raise ForeignError(f"{files[0]}: no episode has ended in it")
    steps = list(accumulate(episode.length for episode in episodes))
    sources = tuple(
        Source(file=readable(file), kind="Stable-Baselines3's monitor", taken="every episode") for file in files
    )
    return of_episodes(sources, steps, [one.episode_return for one in episodes], [one.length for one in episodes])


def _read(file: Path, game: GameSettings) -> list[_Episode]:
    try:
        with file.open(encoding="utf-8", newline="") as text:
            began, steps_each = _header(file, text.readline(10_000), game)
            return list(_rows(file, text, began, steps_each))
    except OSError as error:
        raise ForeignError(f"{file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ForeignError(f"{file} is no monitor.csv: {error}") from None


def _header(file: Path, line: str, game: GameSettings) -> tuple[float, int]:
    """When it began, and how many of the environment's steps are one of the game's."""
    try:
        if not line.startswith("#"):
            raise ValueError
        header = json.loads(line[1:])
        began, env_id = float(header["t_start"]), str(header.get("env_id"))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise ForeignError(f"{file} is no monitor.csv: its first line is no header of Stable-Baselines3's") from None
    try:
        played = resolve(env_id)
    except UnknownGameError:
        return finite(began, str(file)), 1
    if played.rom != game.rom:
        raise ForeignError(f"{file} is of {env_id}, not of {game.env_id}")
    return finite(began, str(file)), _frames_each(played, game)


def _frames_each(played: GameSettings, game: GameSettings) -> int:
    """The monitor lies within the wrapper that skips frames: where the id itself skips none, it counts frames."""
    if isinstance(played.frame_skip, int) and isinstance(game.frame_skip, int):
        return max(game.frame_skip // played.frame_skip, 1)
    return 1


def _rows(file: Path, text: TextIO, began: float, steps_each: int) -> Iterator[_Episode]:
    rows = csv.reader(text)
    heads = next(rows, [])
    if missing := [name for name in _COLUMNS if name not in heads]:
        raise ForeignError(f"{file}: no column {', '.join(missing)}: there are {', '.join(heads) or 'none'}")
    places = [heads.index(name) for name in _COLUMNS]
    for row in rows:
        where = f"{file}, line {rows.line_num + 1}"
        if len(row) != len(heads):
            raise ForeignError(f"{where}: {len(row)} of {len(heads)} columns; is it cut off?")
        try:
            value, length, seconds = (float(row[place]) for place in places)
        except ValueError:
            raise ForeignError(f"{where}: {', '.join(row)[:60]!r} are no numbers") from None
        if not 1 <= length <= 10**9:
            raise ForeignError(f"{where}: an episode of {length:g} steps")
        yield _Episode(finite(began + seconds, where), finite(value, where), max(int(length) // steps_each, 1))
