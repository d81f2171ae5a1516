"""The benchmark of live views trains with and without a viewer in every round, in a store of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.processes import started, wait_until


def test_both_contenders_are_measured_while_somebody_watches(tmp_path: Path) -> None:
    options = ["--env", "ALE/Breakout-v5", "--steps", "4096", "--workers", "1", "--rounds", "1", "--json"]
    with started(["benchmark", "live", *options], tmp_path) as command:
        code, out, errors = command.wait()
        assert wait_until(lambda: not command.family()), "no emulator outlives the command"
    assert code == 0, errors
    result = json.loads(out.splitlines()[-1])
    assert result["rounds"].keys() == {"alone", "beside a live view"}
    assert result["of_alone"] == pytest.approx(result["medians"]["beside a live view"] / result["medians"]["alone"])
    (frames_per_second,) = result["frames_per_second"]
    assert 0 < frames_per_second < 70
    assert "Traceback" not in errors
    assert {path.name for path in tmp_path.rglob("*")} <= {"mlruns", "mlflow.db"}, "no artifact is stored"
