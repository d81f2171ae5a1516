"""Which runs may be held against each other, and against whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from tasks.arcade.emulator.emulator import resolve
from tasks.arcade.settings.run import RunSettings
from tasks.runs.comparability import Contenders, contenders, difference
from tasks.runs.report_data import read_run
from tasks.store import Store, StoreError

Judged = Callable[..., str]


def crown(store: Store, run_id: str, step: int) -> None:
    """Make a checkpoint the champion of Pong, as the registry has it."""
    client = MlflowClient(store.address.uri, store.address.uri)
    client.create_registered_model("ALE-Pong-v5", tags={"ramreel.env_id": "ALE/Pong-v5"})
    tags = {"ramreel.step": str(step), "ramreel.digest": "d", "ramreel.model_id": "m"}
    version = client.create_model_version(
        "ALE-Pong-v5", source=store.artifact_uri(run_id, "x"), run_id=run_id, tags=tags
    )
    client.set_registered_model_alias("ALE-Pong-v5", "champion", version.version)


def test_an_id_is_only_a_name() -> None:
    assert difference(resolve("Pong-ramNoFrameskip-v4"), resolve("PongNoFrameskip-v4")) == ""
    assert difference(resolve("ALE/Pong-v5"), resolve("ALE/Breakout-v5")) == "they play ALE/Pong-v5 and ALE/Breakout-v5"


def test_every_difference_is_named(store: Store, settings: RunSettings, judged: Judged) -> None:
    one = judged(store, settings, {10: [1.0]}, "one")
    old = settings.model_copy(update={"game": resolve("PongNoFrameskip-v4")})
    other = judged(store, old, {10: [1.0]}, "other")
    with pytest.raises(StoreError) as refused:
        contenders(store, [one, other])
    said = str(refused.value)
    assert said.startswith("one and other cannot be compared: frame_skip is 4 and 1, repeat_action_probability is 0.25")
    assert said.endswith("--normalized compares human-normalized scores instead")
    assert "\n" not in said
    assert contenders(store, [one, other], normalized=True).runs == (one, other)


def test_a_game_without_a_human_score_cannot_be_normalised(store: Store, settings: RunSettings, judged: Judged) -> None:
    game = resolve("ALE/Adventure-v5")
    run_id = judged(store, settings.model_copy(update={"game": game}), {10: [1.0]})
    with pytest.raises(StoreError, match="no human score is published for adventure: leave it out"):
        contenders(store, [run_id], normalized=True)


def test_a_comparison_is_no_contender(store: Store, settings: RunSettings, judged: Judged) -> None:
    run_id = judged(store, settings, {10: [1.0]})
    comparison = store.start_comparison("e", "both", [run_id], command="c", versions={}, commit=None)
    with pytest.raises(StoreError, match=r"run both .* is no training"):
        contenders(store, [run_id, comparison])


def test_runs_are_held_against_a_baseline(store: Store, settings: RunSettings, judged: Judged) -> None:
    new, old = (judged(store, settings, {10: [1.0]}, name) for name in ("new", "old"))
    assert contenders(store, ["new", "new"], ["old"]) == Contenders(runs=(new,), baseline=(old,), called="baseline")
    with pytest.raises(StoreError, match="held against itself"):
        contenders(store, ["new"], ["new"])


def test_the_champion_is_one_checkpoint(store: Store, settings: RunSettings, judged: Judged) -> None:
    new = judged(store, settings, {10: [1.0], 20: [2.0]}, "new")
    with pytest.raises(StoreError, match="ALE/Pong-v5 has no champion yet"):
        contenders(store, [new], ["champion"])
    best = judged(store, settings, {10: [9.0], 20: [3.0]}, "best")
    crown(store, best, 10)
    found = contenders(store, [new, best], ["champion"])
    assert found == Contenders(runs=(new,), baseline=(best,), called="champion", step=10)
    assert [row.step for row in read_run(store, best, found).checkpoints] == [10], "what came later is not the champion"
    assert [row.step for row in read_run(store, new, found).checkpoints] == [10, 20]
    with pytest.raises(StoreError, match="is the champion itself"):
        contenders(store, [best], ["champion"])


def test_a_champion_that_was_not_evaluated_is_named(store: Store, settings: RunSettings, judged: Judged) -> None:
    new = judged(store, settings, {10: [1.0]}, "new")
    best = judged(store, settings, {10: [9.0]}, "best")
    crown(store, best, 20)
    with pytest.raises(StoreError, match=f"`ramreel record {best[:8]} --checkpoint 20` does it"):
        contenders(store, [new], ["champion"])


def test_a_run_is_read_as_it_is(store: Store, settings: RunSettings, judged: Judged) -> None:
    run_id = judged(store, settings, {10: [1.0, 2.0], 20: [3.0, 4.0]})
    store.log_metrics(run_id, {"time/wall_seconds": 60, "time/cpu_seconds": 90, "time/fps": 500}, 10)
    store.log_metrics(run_id, {"time/wall_seconds": 30, "time/cpu_seconds": 45}, 20)
    run = read_run(store, run_id, Contenders(runs=(run_id,)))
    assert (run.approach, run.seed, run.env_id, run.rom) == ("ppo", 7, "ALE/Pong-v5", "pong")
    assert (run.frame_skip, run.sticky, run.deterministic, run.side) == ("4", 0.25, False, "candidate")
    assert [row.returns for row in run.checkpoints] == [(1.0, 2.0), (3.0, 4.0)]
    assert run.curve == ((10, 1.0), (20, 3.0))
    assert (run.cost.wall_seconds, run.cost.cpu_seconds, run.cost.steps_per_second) == (90, 135, 500), "both sittings"
    assert run.actions[:2] == (("NOOP", 120), ("FIRE", 80))
    assert run.parameters["approach.algorithm.gamma"] == "0.99"
    assert run.command == "ramreel train ALE/Pong-v5"


def test_an_empty_run_is_read(store: Store, run_id: str) -> None:
    run = read_run(store, run_id, Contenders(runs=(run_id,)))
    assert (run.checkpoints, run.curve, run.actions, run.deterministic) == ((), (), (), None)


def test_returns_that_are_no_numbers_are_refused_in_one_line(
    store: Store, settings: RunSettings, judged: Judged
) -> None:
    run_id = judged(store, settings, {10: [1.0]})
    spoilt = (
        store.fetch_evaluation(run_id, 10).model_dump_json().replace('"episode_return":1.0', '"episode_return":NaN')
    )
    store.log_text(run_id, spoilt, "evaluations/step-000000010.json")
    with pytest.raises(StoreError, match=r"step-000000010\.json of run .* is no evaluation: .*finite number$"):
        read_run(store, run_id, Contenders(runs=(run_id,)))
