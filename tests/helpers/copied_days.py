"""Rows of a SQLite database that something wrote, written again with new ids and earlier times."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
"""An id of Prefect's or of MLflow's."""
_PREFIX = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?![0-9a-f-])")
"""First digits of an id, as in the keys of artifacts."""
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
_MS_TIMES = range(1_600_000_000_000, 2_500_000_000_000)
Copy = tuple[str, timedelta]
"""Name of a copy, from which its ids are derived, and the time by which it is earlier."""


def last_rows(database: Path) -> dict[str, int]:
    """Return the last row id of each table."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0 for table in tables}  # noqa: S608


@lru_cache(maxsize=50_000)
def new_id(old: str, copy: str) -> str:
    made = uuid5(NAMESPACE_OID, f"{old} {copy}")
    return str(made) if "-" in old else made.hex


@dataclass
class CopiedRows:
    """The rows that were written between two calls of `last_rows`.

    Attributes:
        numbered: columns of numbers that are keys, by table: each copy continues to count.
        kept: tables that are not copied, or only up to an age.
    """

    database: Path
    before: Mapping[str, int]
    after: Mapping[str, int]
    skipped: frozenset[str]
    numbered: Mapping[str, str] = field(default_factory=dict)
    oldest: Mapping[str, timedelta] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = {}
        self.columns: dict[str, list[str]] = {}
        self.ids: set[str] = set()
        self._written = 0
        with closing(sqlite3.connect(self.database)) as connection:
            for table, last in self.after.items():
                if table in self.skipped or table.startswith("sqlite"):
                    continue
                information = connection.execute(f"PRAGMA table_info({table})").fetchall()
                self.columns[table] = [column[1] for column in information]
                keys = [index for index, column in enumerate(information) if column[5]]
                query = f"SELECT * FROM {table} WHERE rowid > ? AND rowid <= ?"  # noqa: S608
                found = connection.execute(query, (self.before.get(table, 0), last)).fetchall()
                self.rows[table] = found
                for row in found:
                    for index in keys:
                        if isinstance(row[index], str):
                            self.ids |= set(ID.findall(row[index]))
        self._full = {one[:8]: one for one in self.ids}

    @property
    def count(self) -> int:
        return sum(map(len, self.rows.values()))

    def write(self, copies: Iterable[Copy]) -> None:
        """Write all copies, the latest first."""
        with closing(sqlite3.connect(self.database, timeout=60)) as connection, connection:
            for name, age in copies:
                self._written += 1
                for table, rows in self.rows.items():
                    if rows and age <= self.oldest.get(table, timedelta.max):
                        marks = ", ".join("?" * len(self.columns[table]))
                        connection.executemany(
                            f"INSERT OR IGNORE INTO {table} VALUES ({marks})",  # noqa: S608
                            self._copied(table, rows, name, age),
                        )

    def _copied(self, table: str, rows: list[tuple[Any, ...]], name: str, age: timedelta) -> Iterator[tuple[Any, ...]]:
        numbered = self.numbered.get(table)
        step = len({row[self.columns[table].index(numbered)] for row in rows}) if numbered else 0
        cells: list[Callable[[Any], Any]] = [
            (lambda value: value + step * self._written) if column == numbered
            else (lambda value: f"{value} {name}" if value else value) if column == "idempotency_key"
            else (lambda value: self._cell(value, name, age))
            for column in self.columns[table]
        ]  # fmt: skip
        for row in rows:
            yield tuple(cell(value) for cell, value in zip(cells, row, strict=True))

    def _cell(self, value: Any, name: str, age: timedelta) -> Any:
        if isinstance(value, int) and value in _MS_TIMES:
            return value - age // timedelta(milliseconds=1)
        if not isinstance(value, str):
            return value

        def replaced(match: re.Match[str]) -> str:
            return new_id(match[0], name) if match[0] in self.ids else match[0]

        def replaced_prefix(match: re.Match[str]) -> str:
            full = self._full.get(match[0])
            return new_id(full, name)[:8] if full else match[0]

        if _TIME.fullmatch(value):
            return f"{datetime.fromisoformat(value) - age:%Y-%m-%d %H:%M:%S.%f}"

        return _PREFIX.sub(replaced_prefix, ID.sub(replaced, value))
