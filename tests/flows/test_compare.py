"""Runs held against each other from the command line: what it says, what it leaves, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli.app import run
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.settings.run import RunSettings
from tasks.store import Store

Judged = Callable[..., str]

CERTAIN = "probability of improvement 1.00 (p = 0.029, 4 seeds each)"


def said(capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    values = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert isinstance(values, dict)
    return values


def test_a_version_that_got_worse_ends_with_3(
    store: Store, settings: RunSettings, judged: Judged, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for seed in range(4):
        of_seed = settings.model_copy(update={"seed": seed})
        judged(store, of_seed, {10: [1.0 + seed, 2.0]}, f"new {seed}")
        judged(store, of_seed, {10: [11.0 + seed, 12.0]}, f"old {seed}")
    new, old = ([f"{age} {seed}" for seed in range(4)] for age in ("new", "old"))
    against = [word for name in old for word in ("--against", name)]
    assert run(["compare", *new, *against, "--json", "--name", "held"]) == 3
    compared = said(capfd)
    assert compared["verdict"] == f"ppo (baseline) is better than ppo: {CERTAIN}"
    assert compared["worse"] is True
    assert len(compared["runs"]) == 8  # type: ignore[arg-type]
    for name in ("report.html", "report.md", "numbers.csv", "numbers.parquet"):
        assert store.fetch_artifact(str(compared["run_id"]), f"reports/{name}", tmp_path).stat().st_size > 500
    metrics = store.run(str(compared["run_id"])).metrics
    assert metrics["final/mean_return/ppo -baseline-"] == pytest.approx(12.25)

    others = [word for name in new for word in ("--against", name)]
    assert run(["compare", *old, *others, "--json"]) == 0, "better is not worse"
    assert said(capfd)["verdict"] == f"ppo is better than ppo (baseline): {CERTAIN}"
    assert run(["compare", "new 0", "--against", "old 0", "--json"]) == 0, "two episodes each cannot tell"
    assert str(said(capfd)["verdict"]).startswith("No significant difference between ppo (baseline) and ppo: ")


def test_games_are_compared_if_asked_for(
    store: Store, settings: RunSettings, judged: Judged, capfd: pytest.CaptureFixture[str]
) -> None:
    judged(store, settings, {10: [1.0, 2.0]}, "on pong")
    judged(store, settings.model_copy(update={"game": resolve("ALE/Breakout-v5")}), {10: [1.7, 1.7]}, "on breakout")
    assert run(["compare", "on pong", "on breakout"]) == 2
    refused = capfd.readouterr().err
    assert "cannot be compared: they play ALE/Pong-v5 and ALE/Breakout-v5" in refused
    assert refused.count("\n") == 1
    assert run(["compare", "on pong", "on breakout", "--normalized", "--json"]) == 0
    assert said(capfd)["verdict"] == "ppo: interquartile mean human-normalized score 0.31, 1 seed"
