"""Runs are comparable if their games agree; baselines and champions are resolved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.settings.run import RunSettings
from tasks.runs.comparability import RunSelection, game_difference, select_runs
from tasks.runs.report_data import read_run
from tasks.store import Store, StoreError
from tasks.store.connection import connect

EvaluatedRun = Callable[..., str]


def crown(store: Store, run_id: str, step: int) -> None:
    """Register a checkpoint as the champion of Pong."""
    client = MlflowClient(store.address.uri, store.address.uri)
    client.create_registered_model("ALE-Pong-v5", tags={"ramreel.env_id": "ALE/Pong-v5"})
    tags = {"ramreel.step": str(step), "ramreel.digest": "d", "ramreel.model_id": "m"}
    version = client.create_model_version(
        "ALE-Pong-v5", source=store.artifact_uri(run_id, "x"), run_id=run_id, tags=tags
    )
    client.set_registered_model_alias("ALE-Pong-v5", "champion", version.version)


def test_environment_ids_are_only_names() -> None:
    assert game_difference(resolve("Pong-ramNoFrameskip-v4"), resolve("PongNoFrameskip-v4")) == ""
    assert (
        game_difference(resolve("ALE/Pong-v5"), resolve("ALE/Breakout-v5"))
        == "they play ALE/Pong-v5 and ALE/Breakout-v5"
    )


def test_every_difference_between_games_is_named(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    one = evaluated_run(store, settings, {10: [1.0]}, "one")
    old = settings.model_copy(update={"game": resolve("PongNoFrameskip-v4")})
    other = evaluated_run(store, old, {10: [1.0]}, "other")
    with pytest.raises(StoreError) as refused:
        select_runs(store, [one, other])
    message = str(refused.value)
    assert message.startswith(
        "one and other are not comparable: frame_skip is 4 and 1, repeat_action_probability is 0.25"
    )
    assert message.endswith("--normalized compares human-normalized scores instead")
    assert "\n" not in message
    assert select_runs(store, [one, other], normalized=True).runs == (one, other)


def test_game_without_a_human_score_cannot_be_normalized(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    game = resolve("ALE/Adventure-v5")
    run_id = evaluated_run(store, settings.model_copy(update={"game": game}), {10: [1.0]})
    with pytest.raises(StoreError, match="no human score is published for adventure: leave it out"):
        select_runs(store, [run_id], normalized=True)


def test_comparison_is_not_comparable(store: Store, settings: RunSettings, evaluated_run: EvaluatedRun) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0]})
    comparison = store.start_comparison("e", "both", [run_id], command="c", versions={}, commit=None)
    with pytest.raises(StoreError, match=r"run both .* is not a training run"):
        select_runs(store, [run_id, comparison])


def test_runs_are_compared_against_a_baseline(store: Store, settings: RunSettings, evaluated_run: EvaluatedRun) -> None:
    new, old = (evaluated_run(store, settings, {10: [1.0]}, name) for name in ("new", "old"))
    assert select_runs(store, ["new", "new"], ["old"]) == RunSelection(
        runs=(new,), baseline=(old,), baseline_name="baseline"
    )
    with pytest.raises(StoreError, match="compared against itself"):
        select_runs(store, ["new"], ["new"])


def test_champion_is_a_single_checkpoint(store: Store, settings: RunSettings, evaluated_run: EvaluatedRun) -> None:
    new = evaluated_run(store, settings, {10: [1.0], 20: [2.0]}, "new")
    with pytest.raises(StoreError, match="ALE/Pong-v5 has no champion yet"):
        select_runs(store, [new], ["champion"])
    best = evaluated_run(store, settings, {10: [9.0], 20: [3.0]}, "best")
    crown(store, best, 10)
    found = select_runs(store, [new, best], ["champion"])
    assert found == RunSelection(runs=(new,), baseline=(best,), baseline_name="champion", baseline_step=10)
    assert [row.step for row in read_run(store, best, found).checkpoints] == [10], (
        "later checkpoints are not the champion"
    )
    assert [row.step for row in read_run(store, new, found).checkpoints] == [10, 20]
    with pytest.raises(StoreError, match="is the champion itself"):
        select_runs(store, [best], ["champion"])


def test_champion_without_an_evaluation_is_refused(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    new = evaluated_run(store, settings, {10: [1.0]}, "new")
    best = evaluated_run(store, settings, {10: [9.0]}, "best")
    crown(store, best, 20)
    with pytest.raises(StoreError, match=f"`ramreel record {best[:8]} --checkpoint 20` first"):
        select_runs(store, [new], ["champion"])


def test_run_whose_clock_was_set_back_has_no_wall_time(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0]})
    connect(store.address).set_terminated(run_id, end_time=store.run(run_id).start_ms - 3_600_000)
    assert read_run(store, run_id, RunSelection(runs=(run_id,))).cost.wall_seconds is None


def test_metric_that_contradicts_its_evaluation_is_named(
    store: Store, settings: RunSettings, evaluated_run: EvaluatedRun
) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0, 2.0], 20: [3.0, 4.0]})
    store.log_metrics(run_id, {"eval/mean_reward": 1.5}, 10)
    assert read_run(store, run_id, RunSelection(runs=(run_id,))).notes == ()
    store.log_metrics(run_id, {"eval/mean_reward": 4.5}, 20)
    assert read_run(store, run_id, RunSelection(runs=(run_id,))).notes == (
        "step 20: eval/mean_reward is 4.5, the returns of its evaluation have a mean of 3.5",
    )


def test_run_is_read_completely(store: Store, settings: RunSettings, evaluated_run: EvaluatedRun) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0, 2.0], 20: [3.0, 4.0]})
    store.log_metrics(run_id, {"time/wall_seconds": 60, "time/cpu_seconds": 90, "time/fps": 500}, 10)
    store.log_metrics(run_id, {"time/wall_seconds": 30, "time/cpu_seconds": 45}, 20)
    run = read_run(store, run_id, RunSelection(runs=(run_id,)))
    assert (run.approach, run.seed, run.env_id, run.rom) == ("ppo", 7, "ALE/Pong-v5", "pong")
    assert (run.frame_skip, run.repeat_action_probability, run.deterministic, run.side) == (
        "4",
        0.25,
        False,
        "candidate",
    )
    assert [row.returns for row in run.checkpoints] == [(1.0, 2.0), (3.0, 4.0)]
    assert run.curve == ((10, 1.0), (20, 3.0))
    assert (run.cost.wall_seconds, run.cost.cpu_seconds, run.cost.steps_per_second) == (90, 135, 500), "both sessions"
    assert run.actions[:2] == (("NOOP", 120), ("FIRE", 80))
    assert run.parameters["approach.algorithm.gamma"] == "0.99"
    assert run.command == "ramreel train ALE/Pong-v5"


def test_empty_run_is_read(store: Store, run_id: str) -> None:
    run = read_run(store, run_id, RunSelection(runs=(run_id,)))
    assert (run.checkpoints, run.curve, run.actions, run.deterministic) == ((), (), (), None)


def test_nan_returns_are_refused_in_one_line(store: Store, settings: RunSettings, evaluated_run: EvaluatedRun) -> None:
    run_id = evaluated_run(store, settings, {10: [1.0]})
    damaged = (
        store.fetch_evaluation(run_id, 10).model_dump_json().replace('"episode_return":1.0', '"episode_return":NaN')
    )
    store.log_text(run_id, damaged, "evaluations/step-000000010.json")
    with pytest.raises(
        StoreError, match=r"step-000000010\.json of run .* is not an evaluation: it is not valid JSON \(.*\)$"
    ):
        read_run(store, run_id, RunSelection(runs=(run_id,)))
