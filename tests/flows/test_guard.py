"""A champion is crowned, checked, and retrained from its last valid checkpoint when its performance drops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.inboxes import Webhook
from helpers.prefect_events import is_emitted
from prefect import flow

from flows.follow_up import follow_up
from flows.guard import GuardError, guard
from flows.record import record
from flows.retrain import retrain
from flows.train import TrainedRun, train
from tasks.arcade.episodes.head_to_head import HeadToHead
from tasks.arcade.inputs.forms import RecordSettings, TrainSettings
from tasks.arcade.inputs.unattended import FollowUpSettings, GuardSettings, RetrainSettings
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.champion import ChampionStatus, challenge, detect_collapse
from tasks.execution import events
from tasks.retrain import plan_retraining
from tasks.runs.lookup import evaluation_of
from tasks.store import Champion, ChampionRegistry, Store, StoreError

GAME = "ALE/Breakout-v5"
QUICK = EvaluationSettings(episodes=3)


@pytest.fixture(autouse=True)
def _short_contests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a third of the fresh episodes: the tests' champions differ by far more, or not at all."""
    monkeypatch.setattr("tasks.runs.champion_evaluation.FRESH_EPISODES", 10)


def new_titles(webhook: Webhook) -> list[str]:
    """Return and clear the titles of the received messages, without milestones."""
    titles = [message["title"] for message in webhook.received]
    webhook.received.clear()
    milestones = ("plays better than random", "sets a new best", "reaches a ")
    return [title for title in titles if not any(milestone in title for milestone in milestones)]


def recorded(settings: TrainSettings) -> TrainedRun:
    trained = train(settings)
    record(RecordSettings(run=trained.run_id, evaluation=QUICK, video=VideoSettings(panel=False)))
    return trained


def followed_up(settings: TrainSettings) -> TrainedRun:
    trained = recorded(settings)
    follow_up(FollowUpSettings(run=trained.run_id))
    return trained


def crown(settings: TrainSettings) -> TrainedRun:
    """Do as `followed_up`, without a report."""
    trained = recorded(settings)
    flow(challenge.fn)(trained.run_id)
    return trained


def check() -> ChampionStatus:
    (status,) = guard(GuardSettings(episodes=10))
    return status


def champion_of(store: Store) -> Champion:
    crowned = ChampionRegistry(store.address).champion(GAME)
    assert crowned is not None
    return crowned


def artifact(store: Store, run_id: str, path: str) -> Path:
    return Path(store.artifact_uri(run_id, path).removeprefix("file://"))


def skip_reason(settings: RetrainSettings) -> str:
    state = retrain(settings, return_state=True)
    assert state.name == "Skipped"
    return str(state.message)


def reports(store: Store) -> list[str]:
    comparisons = store.runs_tagged("ramreel.kind", "comparison")
    return [artifact(store, run_id, "reports/report.md").read_text() for run_id in comparisons]


def collapse(store: Store, run_id: str) -> None:
    """Simulate a run that gained much before its last step, and lost it."""
    real = store.fetch_evaluation(run_id, min(store.evaluations(run_id)))
    for at, more in ((1, 0), (2, 20)):
        episodes = [
            one.model_copy(update={"episode_return": one.episode_return + more, "ram_digest": f"{at}{take}{one.seed}"})
            for one in real.episodes
            for take in range(8)
        ]
        store.save_evaluation(run_id, real.model_copy(update={"step": at, "episodes": tuple(episodes)}))


def raise_former_returns(store: Store, champion: Champion) -> None:
    """Simulate higher returns of the champion when it was crowned."""
    file = artifact(store, champion.run_id, f"champion/version-{champion.version}.json")
    result = HeadToHead.model_validate_json(file.read_text())
    better = [
        one.model_copy(update={"episode_return": one.episode_return + 9, "ram_digest": f"then {one.seed}"})
        for one in result.challenger.episodes
    ]
    then = result.challenger.model_copy(update={"episodes": tuple(better)})
    file.write_text(result.model_copy(update={"challenger": then}).model_dump_json())


def change_game(store: Store, champion: Champion) -> None:
    """Simulate other rewards of the emulator when the champion was recorded."""
    file = artifact(store, champion.run_id, store.videos(champion.run_id)[champion.step].trace)
    trace = json.loads(file.read_text())
    trace["rewards"][3] += 1
    trace["episode_return"] += 1
    file.write_text(json.dumps(trace))


def damage_weights(store: Store, champion: Champion) -> None:
    location = store._client.get_logged_model(champion.checkpoint.model_id).artifact_location
    file = Path(location.removeprefix("file://")) / "policy.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 0xFF
    file.write_bytes(data)


def delete_checkpoint(store: Store, champion: Champion) -> None:
    """Delete it as a user does in MLflow's UI."""
    store._client.delete_logged_model(champion.checkpoint.model_id)


def delete_files(store: Store, champion: Champion) -> None:
    """Delete it as a user does who frees disk space."""
    location = store._client.get_logged_model(champion.checkpoint.model_id).artifact_location
    shutil.rmtree(location.removeprefix("file://"))


def test_champion_is_crowned_checked_and_retrained(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    first = followed_up(small)
    champion = champion_of(store)
    assert (champion.run_id, champion.version) == (first.run_id, 1)
    assert champion.description.startswith("fast seed 1, step ")
    assert is_emitted(events.CHAMPION_CROWNED, run_id=first.run_id, env_id=GAME, version=1)

    assert new_titles(webhook) == [f"ramreel: {GAME} has a new champion"]

    # An equal checkpoint does not replace it.
    second = followed_up(small.model_copy(update={"seed": 2, "steps": 512}))
    assert champion_of(store) == champion
    assert "does not beat the champion: mean return" in store.run(second.run_id).tags["ramreel.champion"]
    comparison = store.run(store.runs_tagged("ramreel.kind", "comparison")[0])
    assert comparison.tags["ramreel.runs"].split() == [second.run_id, first.run_id], "compared with the earlier run"

    # Its performance is unchanged.
    status = check()
    assert not status.dropped
    assert "of 10 fresh episodes" in status.summary
    assert "ramreel.dropped" not in champion_of(store).tags
    assert new_titles(webhook) == []

    for harm, cause, summary in (
        (raise_former_returns, "checkpoint", "the game is unchanged, the policy is not"),
        (change_game, "game", "the game has changed: "),
        (damage_weights, "checkpoint", "the champion cannot play: checkpoint"),
    ):
        harm(store, champion)
        status = check()
        assert status.dropped
        assert summary in status.summary
        assert champion_of(store).tags["ramreel.dropped"] == cause
        assert is_emitted(events.PERFORMANCE_DROPPED, env_id=GAME, cause=cause, version=1)
        assert new_titles(webhook) == [f"ramreel: the champion of {GAME} plays worse"]
    assert check().dropped
    assert new_titles(webhook) == [], "a known drop is not reported again"

    # It is retrained from its last valid checkpoint, with a cool-down and a limit.
    inputs = RetrainSettings(env_id=GAME, steps=512, workers=2)
    trained = retrain(inputs)
    assert isinstance(trained, TrainedRun)
    run = store.run(trained.run_id)
    start_step = 512 if champion.step == 1024 else 0
    assert ("from step 512" in run.name) == bool(start_step)
    assert run.settings is not None
    assert (run.settings.seed, run.settings.steps) == (2, start_step + 512)
    assert [stored.step for stored in store.list_checkpoints(run.run_id)][-1] == start_step + 512

    assert "cool-down ends" in skip_reason(inputs)
    assert "check it manually" in skip_reason(inputs.model_copy(update={"cool_down_hours": 0, "at_most": 1}))
    assert store.runs_tagged("ramreel.retraining_of", GAME) == (run.run_id,)
    assert new_titles(webhook) == [f"ramreel: retraining of {GAME} stopped"]

    # A champion that cannot play is replaced by the next run.
    record(RecordSettings(run=run.run_id, evaluation=QUICK))
    followed = follow_up(FollowUpSettings(run=run.run_id))
    assert "the champion cannot play" in followed.champion.summary
    assert champion_of(store).run_id == run.run_id
    changed = f"Video omitted: fast seed 1, step {champion.step:,}: "
    assert [changed in text for text in reports(store)].count(True) == 1, "the verified videos are included"

    # If the game itself has changed, training starts from scratch.
    plan = flow(plan_retraining.fn)(RetrainSettings(env_id=GAME, cause="game", cool_down_hours=0))
    assert plan.start_from is None
    assert plan.run is not None
    assert plan.run.steps == run.settings.steps


def test_collapsed_run_is_reported_and_retrained_from_the_champion(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = EvaluationSettings(episodes=7, seed=3)
    crowned = crown(small.model_copy(update={"steps": 512, "evaluation": evaluation}))
    collapse(store, crowned.run_id)
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    best = store.fetch_evaluation(crowned.run_id, 2).mean_return
    assert f"at its end, after {best:.1f} at step 2" in flow(detect_collapse.fn)(crowned.run_id)
    assert is_emitted(events.PERFORMANCE_DROPPED, env_id=GAME, cause="collapse", version=1)
    assert new_titles(webhook) == [f"ramreel: {GAME}: a training run has collapsed"]
    plan = flow(plan_retraining.fn)(RetrainSettings(env_id=GAME, cause="collapse"))
    assert plan.start_from == champion_of(store).checkpoint
    tagged = store.run(crowned.run_id).model_copy(update={"tags": plan.tags})
    assert evaluation_of(tagged) == evaluation, "it is evaluated as the champion's own run"


def test_drop_is_cleared_when_performance_recovers(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    crown(small.model_copy(update={"steps": 512}))
    champion = champion_of(store)
    then = artifact(store, champion.run_id, f"champion/version-{champion.version}.json")
    as_it_was = then.read_text()
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    for _ in range(2):
        raise_former_returns(store, champion)
        assert check().dropped
        assert champion_of(store).drop_cause == "checkpoint"
        assert new_titles(webhook) == [f"ramreel: the champion of {GAME} plays worse"], "a new drop is reported"
        then.write_text(as_it_was)
        assert not check().dropped
        assert champion_of(store).drop_cause is None


def test_version_registered_by_a_user_is_not_a_champion(small: TrainSettings, store: Store) -> None:
    crowned = crown(small.model_copy(update={"steps": 512}))
    ours, client = champion_of(store), store._client
    (name,) = (model.name for model in client.search_registered_models())
    model = client.get_logged_model(ours.checkpoint.model_id)
    theirs = client.create_model_version(name, model.artifact_location)
    client.set_registered_model_alias(name, "champion", theirs.version)
    assert ChampionRegistry(store.address).champions() == ()
    assert guard(GuardSettings()) == ()
    assert follow_up(FollowUpSettings(run=crowned.run_id)).champion.crowned
    assert champion_of(store).version == ours.version


def test_champion_that_cannot_be_checked_does_not_hide_the_others(small: TrainSettings, store: Store) -> None:
    quick = small.model_copy(update={"steps": 512})
    crown(quick)
    crown(quick.model_copy(update={"env_id": "Breakout-v4"}))
    first = champion_of(store)
    artifact(store, first.run_id, f"champion/version-{first.version}.json").unlink()
    message = f"1 of 2 champions could not be checked: {GAME}: champion/version-1.json of run {first.run_id} is missing"
    with pytest.raises(GuardError, match=message) as caught:
        guard(GuardSettings(episodes=10))
    assert [status.env_id for status in caught.value.statuses] == ["Breakout-v4"]
    assert caught.value.failed.keys() == {GAME}


def test_deleted_champion_is_reported_and_replaced(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = small.model_copy(update={"steps": 512})
    crown(quick)
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    for seed, delete in ((2, delete_checkpoint), (3, delete_files)):
        delete(store, champion_of(store))
        status = check()
        assert status.dropped
        assert "the champion cannot play: its checkpoint is no longer in the store" in status.summary
        assert new_titles(webhook) == [f"ramreel: the champion of {GAME} plays worse"]
        crown(quick.model_copy(update={"seed": seed}))
        assert "the champion cannot play (its checkpoint is no longer in the store" in champion_of(store).description
        assert new_titles(webhook) == [f"ramreel: {GAME} has a new champion"]


def test_game_without_champion_cannot_be_checked() -> None:
    assert guard(GuardSettings()) == ()
    with pytest.raises(StoreError, match="has no champion yet"):
        guard(GuardSettings(env_id="ALE/Pong-v5"))
