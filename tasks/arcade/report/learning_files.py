"""The learning benchmark's results in files: CSV, to which every benchmark adds its runs, and its table as Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from tasks.arcade.atomic_write import atomic_file
from tasks.arcade.errors import RamreelError
from tasks.arcade.report.learning_table import LearningScore, learning_summary, learning_table
from tasks.arcade.text_files import decode_text

_COLUMNS = tuple(LearningScore.model_fields)


class LearningFileError(RamreelError, ValueError):
    """A file is not one that a learning benchmark wrote, or cannot be written."""


def read_scores(path: Path) -> tuple[LearningScore, ...]:
    """Return the scores in a CSV file; none if it does not exist.

    Raises:
        LearningFileError: the path does not end in .csv, its folder does not exist, or the file has other columns.
    """
    if path.suffix != ".csv":
        raise LearningFileError(f"{path} does not end in .csv: name the CSV file; the Markdown is written next to it")
    if not path.parent.is_dir():
        raise LearningFileError(f"{path.parent} is not a folder: create it, or choose another path")
    if not path.exists():
        return ()
    try:
        rows = list(csv.DictReader(io.StringIO(decode_text(path.read_bytes())), strict=True))
        return tuple(_score(row) for row in rows)
    except (OSError, ValueError, KeyError, csv.Error):
        expected = ", ".join(_COLUMNS)
        raise LearningFileError(f"{path} is not a file of `ramreel benchmark learning`: it has {expected}") from None


def _score(row: dict[str, str]) -> LearningScore:
    values: dict[str, object] = {name: row[name] or None for name in _COLUMNS}
    return LearningScore.model_validate_json(json.dumps(values | {"reached": json.loads(row["reached"])}))


def write_scores(path: Path, scores: Sequence[LearningScore]) -> Path:
    """Add scores to a CSV file, and write the table of all of them next to it; return the path of the Markdown.

    A run replaces an earlier one of the same game, approach, number of steps and seed.

    Raises:
        LearningFileError: as `read_scores`.
    """
    by_run = {_key(score): score for score in (*read_scores(path), *scores)}
    merged = [by_run[key] for key in sorted(by_run)]
    table = path.with_suffix(".md")
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for score in merged:
            values = score.model_dump(mode="json")
            writer.writerow([*(values[name] for name in _COLUMNS if name != "reached"), json.dumps(values["reached"])])
    with atomic_file(table) as temporary:
        temporary.write_text(_markdown(merged), "utf-8")
    return table


def _key(score: LearningScore) -> tuple[str, str, int, int]:
    return score.env_id, score.approach, score.steps, score.seed


def _markdown(scores: Sequence[LearningScore]) -> str:
    header, rows = learning_table(scores)
    lines = [header, ["---"] * len(header), *rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in lines)
    origins = [
        f"- commit {score.commit or 'unknown'}, {score.machine or 'unknown machine'}, {score.date or 'unknown date'}: "
        f"{score.env_id}, {score.approach}, seed {score.seed}, {score.steps:,} steps, {score.episodes} episodes"
        for score in scores
    ]
    return "\n\n".join([table, *learning_summary(scores), "Trained by:", "\n".join(origins)]) + "\n"
