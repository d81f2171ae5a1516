"""`ramreel compare`: its output, its artifacts, its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.processes import error_lines, started

from flows.cli.app import run
from flows.compare import compare
from flows.record import record
from flows.train import train
from tasks.arcade import report
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.inputs.forms import CompareSettings, RecordSettings, TrainSettings
from tasks.arcade.report import Comparison
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.settings.run import RunSettings
from tasks.runs.comparability import RunSelection
from tasks.runs.report_clips import with_clips
from tasks.runs.report_data import read_runs
from tasks.store import Store

EvaluatedRun = Callable[..., str]

CERTAIN = "probability of improvement 1.00 (p = 0.029, 4 seeds each)"


def json_output(capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    values = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert isinstance(values, dict)
    return values


def test_exit_code_is_3_if_the_runs_are_worse(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for seed in range(4):
        of_seed = settings.model_copy(update={"seed": seed})
        evaluated_run(store, of_seed, {10: [1.0 + seed, 2.0]}, f"new {seed}")
        evaluated_run(store, of_seed, {10: [11.0 + seed, 12.0]}, f"old {seed}")
    new, old = ([f"{age} {seed}" for seed in range(4)] for age in ("new", "old"))
    against = [word for name in old for word in ("--against", name)]
    assert run(["compare", *new, *against, "--json", "--name", "held"]) == 3
    compared = json_output(capfd)
    assert compared["verdict"] == f"ppo (baseline) is better than ppo: {CERTAIN}"
    assert (compared["worse"], compared["report"]) == (True, "reports/report.html")
    assert len(compared["runs"]) == 8  # type: ignore[arg-type]
    for name in ("report.html", "report.md", "numbers.csv", "numbers.parquet"):
        assert store.fetch_artifact(str(compared["run_id"]), f"reports/{name}", tmp_path).stat().st_size > 500
    metrics = store.run(str(compared["run_id"])).metrics
    assert metrics["final/mean_return/ppo -baseline-"] == pytest.approx(12.25)

    others = [word for name in new for word in ("--against", name)]
    assert run(["compare", *old, *others, "--json"]) == 0, "better is not worse"
    assert json_output(capfd)["verdict"] == f"ppo is better than ppo (baseline): {CERTAIN}"
    assert run(["compare", "new 0", "--against", "old 0", "--json"]) == 0, "two episodes each are too few"
    assert str(json_output(capfd)["verdict"]).startswith("No significant difference between ppo (baseline) and ppo: ")


def test_last_lines_are_the_result_the_links_and_what_comes_next(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    best = evaluated_run(store, settings, {10: [3.0, 5.0]}, "better")
    evaluated_run(store, settings.model_copy(update={"approach": approach("random")}), {10: [1.0, 2.0]}, "other")
    for name in ("video.mp4", "video.trace.json"):
        (tmp_path / name).write_bytes(b"content")
    video = store.save_video(best, 10, tmp_path / "video.mp4", tmp_path / "video.trace.json")
    assert run(["compare", "better", "other", "--json"]) == 0
    printed = capfd.readouterr()
    compared = json.loads(printed.out.splitlines()[-1])
    assert compared["best"] == best
    sentence, published, *links, following = printed.err.splitlines()[-5:]
    assert sentence == (
        "This ppo agent scored 4.0, this random one 1.5 (2 episodes each, P = 1.00). "
        "One seed each says nothing about the approaches."
    )
    assert published == "published scores: random -20.7, human 14.6 (without sticky actions)"
    report = store.artifact_uri(compared["run_id"], "reports/report.html")
    assert links == [f"video: {store.artifact_uri(best, video.mp4)}", f"report: {report}"]
    assert following.startswith("next: `ramreel up` shows everything in the browser, `ramreel watch ")


def test_games_are_compared_only_when_normalized(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluated_run(store, settings, {10: [1.0, 2.0]}, "on pong")
    evaluated_run(
        store, settings.model_copy(update={"game": resolve("ALE/Breakout-v5")}), {10: [1.7, 1.7]}, "on breakout"
    )
    assert run(["compare", "on pong", "on breakout"]) == 2
    refused = capfd.readouterr().err
    assert "are not comparable: they play ALE/Pong-v5 and ALE/Breakout-v5" in refused
    assert len(error_lines(refused)) == 1
    assert run(["compare", "on pong", "on breakout", "--normalized", "--json"]) == 0
    assert json_output(capfd)["verdict"] == "ppo: interquartile mean human-normalized score 0.31 (1 seed)"


def test_one_run_is_refused_before_a_server_is_started(
    home: Path, store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0, 2.0]}, "alone")
    with started(["compare", "alone", run_id[:8]], home) as command:
        code, out, errors = command.wait()
    refusal = "ramreel: 'alone' is the only run to compare: name another one, or a baseline with --against"
    assert (code, out, error_lines(errors)) == (2, "", [refusal])
    assert not (home / "mlruns/prefect.db").exists()


def test_clips_are_added_without_repeating_the_statistics(small: TrainSettings, store: Store) -> None:
    run_id = train(small).run_id
    record(RecordSettings(run=run_id, evaluation=EvaluationSettings(episodes=3)))
    comparison = compare(CompareSettings(runs=(run_id,)))
    runs = read_runs(store, RunSelection(runs=(run_id,)))
    findings = report.analyze(Comparison(title="one run", env_id=small.env_id, runs=runs))
    iqm = findings.groups[0].iqm
    with_videos = with_clips(store, findings, comparison.run_id)
    assert [video.step for video in with_videos.videos[run_id]] == [512, 1024]
    assert not with_videos.omitted_videos
    assert with_videos.groups is findings.groups
    assert with_videos.pairs is findings.pairs
    assert with_videos.groups[0].iqm is iqm


@pytest.mark.parametrize("command", ["compare", "reel", "record"])
def test_deleted_run_is_refused(
    command: str,
    store: Store,
    settings: RunSettings,
    evaluated_run: EvaluatedRun,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0]})
    store._client.delete_run(run_id)
    assert run([command, run_id]) == 2
    assert f"no run '{run_id}'" in capfd.readouterr().err
