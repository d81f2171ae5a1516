"""Tasks on the champion of a game: challenging it, checking it, detecting the collapse of a training run."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import create_markdown_artifact
from slugify import slugify

from tasks.arcade.checkpoints.checkpoint import CheckpointError
from tasks.arcade.episodes.head_to_head import HeadToHead, describe_collapse
from tasks.arcade.inputs.unattended import Cause
from tasks.arcade.settings.base import Settings
from tasks.execution import events
from tasks.execution.links import mlflow_url
from tasks.execution.progress_sink import log_message
from tasks.notify import notify
from tasks.runs.champion_evaluation import (
    best_checkpoint_of,
    game_change,
    head_to_head,
    log_head_to_head,
    reevaluate,
    sample_at_crowning,
)
from tasks.store import DROP_CAUSE, Champion, ChampionRegistry, Store, StoreError, open_store


class ChampionStatus(Settings):
    """Status of a checkpoint.

    Attributes:
        version: number of its model version; None for that of a baseline, which is not registered.
        summary: result of the challenge or the check.
        dropped: whether it plays worse than when it was crowned.
        crowned: whether it is the champion of its game.
    """

    env_id: str
    version: int | None
    run_id: str
    step: int
    summary: str
    dropped: bool = False
    crowned: bool = False


@task(task_run_name="challenge the champion with run {run_id}")
def challenge(run_id: str) -> ChampionStatus:
    """Register the best checkpoint of a run; it becomes the champion if it beats the current one on fresh seeds.

    Approaches that do not learn are baselines: their checkpoints are neither registered nor crowned.

    Raises:
        StoreError: no checkpoint of the run has been evaluated.
    """
    store = open_store()
    registry, run, checkpoint = ChampionRegistry(store.address), store.run(run_id), best_checkpoint_of(store, run_id)
    assert run.settings is not None
    env_id = run.settings.game.env_id
    if not run.settings.approach.algorithm.learns:
        summary = f"{run.name} is a baseline, which cannot become the champion"
        log_message(summary)
        return ChampionStatus(env_id=env_id, version=None, run_id=run_id, step=checkpoint.step, summary=summary)
    champion = registry.champion(env_id)
    if champion and champion.checkpoint == checkpoint:
        return _status(champion, f"{run.name} is already the champion", crowned=True)
    contender = registry.register(env_id, checkpoint, f"{run.name}, step {checkpoint.step:,}")
    result = head_to_head(store, checkpoint, champion)
    summary = f"{run.name}, step {checkpoint.step:,}, {result.summary}"
    registry.set_description(contender, summary)
    store.set_tag(run_id, "ramreel.champion", summary)
    log_head_to_head(store, contender, result)
    if result.won:
        registry.set_champion(contender)
        events.champion_crowned(contender, run.settings, summary)
        notify(f"ramreel: {env_id} has a new champion", f"{summary}.\nRun: {mlflow_url(store, run_id)}")
    _create_artifact("champion", env_id, _table(result, contender, summary))
    log_message(summary)
    return _status(contender, summary, crowned=result.won)


@task(task_run_name="detect collapse of run {run_id}")
def detect_collapse(run_id: str) -> str:
    """Test whether a run lost much of its performance by its end; if so, emit an event that triggers retraining.

    Returns:
        A description of the collapse; empty if there is none.
    """
    store = open_store()
    run = store.run(run_id)
    assert run.settings is not None
    collapse = describe_collapse([store.fetch_evaluation(run_id, step) for step in store.evaluations(run_id)])
    champion = ChampionRegistry(store.address).champion(run.settings.game.env_id)
    if collapse and champion:
        message = f"{run.name} has collapsed: {collapse}"
        _emit_drop(store, champion, "collapse", message)
        url = mlflow_url(store, run_id)
        notify(f"ramreel: {champion.env_id}: a training run has collapsed", f"{message}.\nRun: {url}")
    return collapse


@task(task_run_name="check the champion of {env_id}")
def check_champion(env_id: str, episodes: int) -> ChampionStatus:
    """Evaluate a champion on fresh seeds, and report if it plays worse than when it was crowned.

    Raises:
        StoreError: the game has no champion, or the store is unavailable.
    """
    store = open_store()
    champion = require_champion(store, env_id)
    before = sample_at_crowning(store, champion)
    try:
        summary, dropped = reevaluate(store, champion, before, episodes)
    except CheckpointError as error:
        return _report_drop(store, champion, "checkpoint", f"the champion cannot play: {error}")
    if not dropped:
        if champion.drop_cause:
            ChampionRegistry(store.address).delete_tag(champion, DROP_CAUSE)
        _create_artifact("guard", env_id, f"Version {champion.version}: {summary}.")
        log_message(f"{env_id}: {summary}")
        return _status(champion, summary)
    if change := game_change(store, champion):
        return _report_drop(store, champion, "game", f"plays worse: {summary}; {change}")
    unchanged = "the game is unchanged, the policy is not"
    return _report_drop(store, champion, "checkpoint", f"plays worse: {summary}; {unchanged}")


def require_champion(store: Store, env_id: str) -> Champion:
    """Return the champion of a game.

    Raises:
        StoreError: the game has none, or the store is unavailable.
    """
    champion = ChampionRegistry(store.address).champion(env_id)
    if champion is None:
        raise StoreError(f"{env_id} has no champion yet: a training run that finishes under `ramreel up` becomes one")
    return champion


def games_with_champions() -> tuple[str, ...]:
    """Return the environment ids of the games that have a champion."""
    return tuple(champion.env_id for champion in ChampionRegistry(open_store().address).champions())


def _report_drop(store: Store, champion: Champion, cause: Cause, summary: str) -> ChampionStatus:
    known_cause = champion.drop_cause
    _emit_drop(store, champion, cause, summary)
    if known_cause != cause:
        url = mlflow_url(store, champion.run_id)
        notify(f"ramreel: the champion of {champion.env_id} plays worse", f"{summary}.\nRun: {url}")
        ChampionRegistry(store.address).set_tag(champion, DROP_CAUSE, cause)
    _create_artifact("guard", champion.env_id, f"**Performance dropped** ({cause}): {summary}.")
    log_message(f"{champion.env_id}: {summary}")
    return _status(champion, summary, dropped=True)


def _emit_drop(store: Store, champion: Champion, cause: Cause, message: str) -> None:
    settings = store.run(champion.run_id).settings
    assert settings is not None
    events.performance_dropped(champion, settings, cause, message)


def _status(champion: Champion, summary: str, *, dropped: bool = False, crowned: bool = False) -> ChampionStatus:
    return ChampionStatus(
        env_id=champion.env_id,
        version=champion.version,
        run_id=champion.run_id,
        step=champion.step,
        summary=summary,
        dropped=dropped,
        crowned=crowned,
    )


def _table(result: HeadToHead, contender: Champion, summary: str) -> str:
    samples = {f"version {contender.version}": result.challenger}
    if result.champion:
        samples["champion"] = result.champion
    rows = [
        f"| {name} | {sample.mean:.2f} | {len(sample.episodes)} ({len(sample.returns)} distinct) |"
        for name, sample in samples.items()
    ]
    return "\n".join([f"{summary}.", "", "| checkpoint | mean return | episodes |", "| --- | --- | --- |", *rows])


def _create_artifact(prefix: str, env_id: str, markdown: str) -> None:
    title = f"Champion of {env_id}"
    key = f"{prefix}-{slugify(env_id)}"
    create_markdown_artifact(f"# {title}\n\n{markdown}\n", key=key, description=title)
