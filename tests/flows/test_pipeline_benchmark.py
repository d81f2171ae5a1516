"""The pipeline benchmark runs both contenders in every round, and leaves nothing in the user's store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.processes import started


def test_both_contenders_are_measured(tmp_path: Path) -> None:
    options = [
        "--env",
        "ALE/Breakout-v5",
        "--approach",
        "random",
        "--n-runs",
        "2",
        "--steps",
        "1000",
        "--rounds",
        "1",
        "--json",
    ]
    with started(["benchmark", "pipeline", *options], tmp_path) as command:
        code, out, errors = command.wait()
    assert code == 0, errors
    result = json.loads(out.splitlines()[-1])
    assert result["rounds"].keys() == {"side by side", "one at a time"}
    assert all(len(speeds) == 1 for speeds in result["rounds"].values())
    assert result["speedup"] == pytest.approx(result["medians"]["side by side"] / result["medians"]["one at a time"])
    assert "Traceback" not in errors
    assert {path.name for path in tmp_path.rglob("*")} == {"mlruns", "mlflow.db"}, "only the store that was there"
