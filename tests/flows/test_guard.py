"""A champion is crowned, watched, found to play worse, and trained again: once, from where it was still good."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.inboxes import Webhook
from prefect import flow
from prefect.client.orchestration import get_client

from flows.follow_up import follow_up
from flows.guard import GuardError, guard
from flows.record import record
from flows.retrain import retrain
from flows.train import TrainedRun, train
from tasks.arcade.episodes.head_to_head import HeadToHead
from tasks.arcade.inputs.forms import FollowUpSettings, GuardSettings, RecordSettings, RetrainSettings, TrainSettings
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
    """A third of the fresh episodes that decide: the tests' champions differ by far more, or not at all."""
    monkeypatch.setattr("tasks.champion.FRESH_EPISODES", 10)


def said(event: str, **expected: Any) -> bool:
    """Whether the newest event of this name says this; Prefect hears of it a moment later."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with get_client(sync_client=True) as client:
            page = client.request("POST", "/events/filter", json={"filter": {"event": {"name": [event]}}}).json()
        if page["events"] and expected.items() <= page["events"][0]["payload"].items():
            return True
        time.sleep(0.2)
    return False


def news(webhook: Webhook) -> list[str]:
    """Titles of the messages since last asked, milestones left out."""
    titles = [message["title"] for message in webhook.received]
    webhook.received.clear()
    return [title for title in titles if "plays better than random" not in title]


def recorded(settings: TrainSettings) -> TrainedRun:
    trained = train(settings)
    record(RecordSettings(run=trained.run_id, evaluation=QUICK, video=VideoSettings(panel=False)))
    return trained


def followed_up(settings: TrainSettings) -> TrainedRun:
    trained = recorded(settings)
    follow_up(FollowUpSettings(run=trained.run_id))
    return trained


def crown(settings: TrainSettings) -> TrainedRun:
    """As `followed_up`, without a report."""
    trained = recorded(settings)
    flow(challenge.fn)(trained.run_id)
    return trained


def look() -> ChampionStatus:
    (standing,) = guard(GuardSettings(episodes=10))
    return standing


def now(store: Store) -> Champion:
    crowned = ChampionRegistry(store.address).champion(GAME)
    assert crowned is not None
    return crowned


def artifact(store: Store, run_id: str, path: str) -> Path:
    return Path(store.artifact_uri(run_id, path).removeprefix("file://"))


def why_not(asked: RetrainSettings) -> str:
    state = retrain(asked, return_state=True)
    assert state.name == "Skipped"
    return str(state.message)


def reports(store: Store) -> list[str]:
    comparisons = store.runs_tagged("ramreel.kind", "comparison")
    return [artifact(store, run_id, "reports/report.md").read_text() for run_id in comparisons]


def collapse(store: Store, run_id: str) -> None:
    """As if a training had gained much before its last step, and lost it."""
    real = store.fetch_evaluation(run_id, min(store.evaluations(run_id)))
    for at, more in ((1, 0), (2, 20)):
        episodes = [
            one.model_copy(update={"episode_return": one.episode_return + more, "ram_digest": f"{at}{take}{one.seed}"})
            for one in real.episodes
            for take in range(8)
        ]
        store.save_evaluation(run_id, real.model_copy(update={"step": at, "episodes": tuple(episodes)}))


def was_better(store: Store, champion: Champion) -> None:
    """As if the champion had scored more when it was crowned."""
    file = artifact(store, champion.run_id, f"champion/version-{champion.version}.json")
    contest = HeadToHead.model_validate_json(file.read_text())
    better = [
        one.model_copy(update={"episode_return": one.episode_return + 9, "ram_digest": f"then {one.seed}"})
        for one in contest.challenger.episodes
    ]
    then = contest.challenger.model_copy(update={"episodes": tuple(better)})
    file.write_text(contest.model_copy(update={"challenger": then}).model_dump_json())


def change_game(store: Store, champion: Champion) -> None:
    """As if the emulator had given other rewards when the champion was recorded."""
    file = artifact(store, champion.run_id, store.videos(champion.run_id)[champion.step].trace)
    trace = json.loads(file.read_text())
    trace["rewards"][3] += 1
    trace["episode_return"] += 1
    file.write_text(json.dumps(trace))


def spoil_weights(store: Store, champion: Champion) -> None:
    location = store._client.get_logged_model(champion.checkpoint.model_id).artifact_location
    file = Path(location.removeprefix("file://")) / "policy.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 0xFF
    file.write_bytes(data)


def delete_checkpoint(store: Store, champion: Champion) -> None:
    """As a person does it in MLflow's UI."""
    store._client.delete_logged_model(champion.checkpoint.model_id)


def delete_files(store: Store, champion: Champion) -> None:
    """As where somebody makes room on a disk."""
    location = store._client.get_logged_model(champion.checkpoint.model_id).artifact_location
    shutil.rmtree(location.removeprefix("file://"))


def test_a_champion_is_crowned_watched_and_trained_again(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    first = followed_up(small)
    champion = now(store)
    assert (champion.run_id, champion.version) == (first.run_id, 1)
    assert champion.description.startswith("random seed 1, step ")
    assert said(events.CHAMPION_CROWNED, run_id=first.run_id, env_id=GAME, version=1)

    assert news(webhook) == [f"ramreel: {GAME} has a new champion"]

    # An equal one does not take its place.
    second = followed_up(small.model_copy(update={"seed": 2, "steps": 512}))
    assert now(store) == champion
    assert "does not beat the champion: mean return" in store.run(second.run_id).tags["ramreel.champion"]
    comparison = store.run(store.runs_tagged("ramreel.kind", "comparison")[0])
    assert comparison.tags["ramreel.runs"].split() == [second.run_id, first.run_id], "beside the earlier one"

    # It plays as it did.
    standing = look()
    assert not standing.dropped
    assert "of 10 fresh episodes" in standing.words
    assert "ramreel.dropped" not in now(store).tags
    assert news(webhook) == []

    for harm, cause, words in (
        (was_better, "checkpoint", "the game is the same, the policy is not"),
        (change_game, "game", "the game is not what it was: "),
        (spoil_weights, "checkpoint", "the champion cannot play: checkpoint"),
    ):
        harm(store, champion)
        standing = look()
        assert standing.dropped
        assert words in standing.words
        assert now(store).tags["ramreel.dropped"] == cause
        assert said(events.PERFORMANCE_DROPPED, env_id=GAME, cause=cause, version=1)
        assert news(webhook) == [f"ramreel: the champion of {GAME} plays worse"]
    assert look().dropped
    assert news(webhook) == [], "the same news is told once"

    # It is trained again from where it was still good; once, and not for ever.
    asked = RetrainSettings(env_id=GAME, steps=512, workers=2)
    trained = retrain(asked)
    assert isinstance(trained, TrainedRun)
    run = store.run(trained.run_id)
    begin = 512 if champion.step == 1024 else 0
    assert ("from step 512" in run.name) == bool(begin)
    assert run.settings is not None
    assert (run.settings.seed, run.settings.steps) == (2, begin + 512)
    assert [stored.step for stored in store.list_checkpoints(run.run_id)][-1] == begin + 512

    assert "not before" in why_not(asked)
    assert "a person must look" in why_not(asked.model_copy(update={"cool_down_hours": 0, "at_most": 1}))
    assert store.runs_tagged("ramreel.retraining_of", GAME) == (run.run_id,)
    assert news(webhook) == [f"ramreel: {GAME} is not trained again"]

    # Whoever comes after a champion that cannot play takes its place.
    record(RecordSettings(run=run.run_id, evaluation=QUICK))
    followed = follow_up(FollowUpSettings(run=run.run_id))
    assert "the champion cannot play" in followed.champion.words
    assert now(store).run_id == run.run_id
    changed = f"Video omitted: random seed 1, step {champion.step:,}: "
    assert [changed in words for words in reports(store)].count(True) == 1, "the videos that are proved are in it"

    # Where the game itself has changed, nothing is gone on from.
    begun = flow(plan_retraining.fn)(RetrainSettings(env_id=GAME, cause="game", cool_down_hours=0))
    assert begun.begin is None
    assert begun.run is not None
    assert begun.run.steps == run.settings.steps


def test_a_training_that_has_collapsed_is_told_of_and_goes_on_from_the_champion(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = EvaluationSettings(episodes=7, seed=3)
    crowned = crown(small.model_copy(update={"steps": 512, "evaluation": asked}))
    collapse(store, crowned.run_id)
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    best = store.fetch_evaluation(crowned.run_id, 2).mean_return
    assert f"at its end, after {best:.1f} at step 2" in flow(detect_collapse.fn)(crowned.run_id)
    assert said(events.PERFORMANCE_DROPPED, env_id=GAME, cause="collapse", version=1)
    assert news(webhook) == [f"ramreel: {GAME}: a training has collapsed"]
    begun = flow(plan_retraining.fn)(RetrainSettings(env_id=GAME, cause="collapse"))
    assert begun.begin == now(store).checkpoint
    judged = store.run(crowned.run_id).model_copy(update={"tags": begun.tags})
    assert evaluation_of(judged) == asked, "it is judged as the champion's own training"


def test_a_champion_that_plays_as_before_again_is_dropped_no_longer(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    crown(small.model_copy(update={"steps": 512}))
    champion = now(store)
    then = artifact(store, champion.run_id, f"champion/version-{champion.version}.json")
    as_it_was = then.read_text()
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    for _ in range(2):
        was_better(store, champion)
        assert look().dropped
        assert now(store).drop_cause == "checkpoint"
        assert news(webhook) == [f"ramreel: the champion of {GAME} plays worse"], "a new drop is news"
        then.write_text(as_it_was)
        assert not look().dropped
        assert now(store).drop_cause is None


def test_a_version_that_a_person_registered_is_not_taken_for_a_champion(small: TrainSettings, store: Store) -> None:
    crowned = crown(small.model_copy(update={"steps": 512}))
    ours, client = now(store), store._client
    (name,) = (model.name for model in client.search_registered_models())
    model = client.get_logged_model(ours.checkpoint.model_id)
    theirs = client.create_model_version(name, model.artifact_location)
    client.set_registered_model_alias(name, "champion", theirs.version)
    assert ChampionRegistry(store.address).champions() == ()
    assert guard(GuardSettings()) == ()
    assert follow_up(FollowUpSettings(run=crowned.run_id)).champion.crowned
    assert now(store).version == ours.version


def test_a_champion_that_cannot_be_looked_at_does_not_hide_the_others(small: TrainSettings, store: Store) -> None:
    quick = small.model_copy(update={"steps": 512})
    crown(quick)
    crown(quick.model_copy(update={"env_id": "Breakout-v4"}))
    first = now(store)
    artifact(store, first.run_id, f"champion/version-{first.version}.json").unlink()
    words = f"1 of 2 champions could not be looked at: {GAME}: the store failed: .*json"
    with pytest.raises(GuardError, match=words) as caught:
        guard(GuardSettings(episodes=10))
    assert [standing.env_id for standing in caught.value.standings] == ["Breakout-v4"]
    assert caught.value.failed.keys() == {GAME}


def test_a_champion_that_was_deleted_is_told_of_and_makes_room(
    small: TrainSettings, store: Store, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = small.model_copy(update={"steps": 512})
    crown(quick)
    monkeypatch.setenv("RAMREEL_NOTIFY", f"json://{webhook.netloc}/")
    for seed, delete in ((2, delete_checkpoint), (3, delete_files)):
        delete(store, now(store))
        standing = look()
        assert standing.dropped
        assert "the champion cannot play: its checkpoint is not in the store" in standing.words
        assert news(webhook) == [f"ramreel: the champion of {GAME} plays worse"]
        crown(quick.model_copy(update={"seed": seed}))
        assert "the champion cannot play (its checkpoint is not in the store" in now(store).words
        assert news(webhook) == [f"ramreel: {GAME} has a new champion"]


def test_a_game_without_champion_cannot_be_guarded() -> None:
    assert guard(GuardSettings()) == ()
    with pytest.raises(StoreError, match="has no champion yet"):
        guard(GuardSettings(env_id="ALE/Pong-v5"))
