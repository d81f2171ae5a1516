"""Results of learning benchmarks accumulate in a CSV file, with their table as Markdown next to it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tasks.arcade.report.learning_files import LearningFileError, read_scores, write_scores
from tasks.arcade.report.learning_table import LearningScore


def score(seed: int, final: float, steps: int = 2_000_000, env_id: str = "ALE/Pong-v5") -> LearningScore:
    return LearningScore(
        env_id=env_id,
        rom=env_id[4:-3].lower(),
        approach="ppo-tuned",
        seed=seed,
        run_id=f"{seed:032d}",
        steps=steps,
        frames=4 * steps,
        episodes=30,
        final=final,
        commit="abc123",
        machine='A "fast" processor, 2 cores',
        date=datetime.date(2026, 11, 30),
        reached={"0": 500_000, "18": None},
    )


def test_results_accumulate_and_a_run_replaces_its_former_result(tmp_path: Path) -> None:
    path = tmp_path / "learning.csv"
    write_scores(path, [score(2, 17.0), score(1, 12.0)])
    table = write_scores(
        path, [score(1, 18.0), score(1, 3.0, steps=400_000), score(1, 311.0, env_id="ALE/Breakout-v5")]
    )
    assert read_scores(path) == (
        score(1, 311.0, env_id="ALE/Breakout-v5"), score(1, 3.0, steps=400_000), score(1, 18.0), score(2, 17.0),
    )  # fmt: skip
    text = table.read_text("utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ALE")]
    assert [row[3:5] for row in rows] == [["311.0", "311.0"], ["3.0", "3.0"], ["18.0, 17.0", "17.5"]]
    assert "ppo-tuned: median human-normalized score" in text
    assert 'commit abc123, A "fast" processor, 2 cores, 2026-11-30: ALE/Pong-v5, ppo-tuned, seed 2' in text


def test_other_files_are_refused_and_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("r,l,t\n1,2,3\n")
    for path, message in (
        (other, "is not a file of"),
        (tmp_path / "learning.md", "does not end in .csv"),
        (tmp_path / "missing/learning.csv", "is not a folder"),
    ):
        with pytest.raises(LearningFileError, match=message):
            write_scores(path, [score(1, 1.0)])
    assert other.read_text() == "r,l,t\n1,2,3\n"
    assert list(tmp_path.iterdir()) == [other]
