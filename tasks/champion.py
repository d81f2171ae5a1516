"""The champion of a game: challenged by every training's best checkpoint, and watched over."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

from prefect import task
from prefect.artifacts import create_markdown_artifact

from tasks.arcade.checkpoints.checkpoint import CheckpointError
from tasks.arcade.episodes.head_to_head import Contest, Played, collapsed, decide, play_seeds, suspicious
from tasks.arcade.episodes.seeds import evaluation_seeds
from tasks.arcade.episodes.trace import TraceError, read_trace
from tasks.arcade.episodes.verify import verify
from tasks.arcade.inputs.forms import EPISODES, Cause
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import Settings, parsed
from tasks.execution import events, provenance
from tasks.execution.links import link
from tasks.execution.progress_sink import announce
from tasks.execution.worker_processes import processes
from tasks.notify import tell
from tasks.store import DROPPED, Champion, Registry, Store, StoredCheckpoint, StoredRun, StoreError, open_store


class ChampionStatus(Settings):
    """How a champion stands."""

    env_id: str
    version: int
    run_id: str
    step: int
    words: str
    dropped: bool = False
    crowned: bool = False


@task(task_run_name="challenge the champion with run {run_id}")
def challenge(run_id: str) -> ChampionStatus:
    """Register a training's best checkpoint; it is the champion if it beats the one that is, on the same fresh seeds.

    Raises:
        StoreError: no checkpoint of the run has been evaluated.
    """
    store = open_store()
    registry, run, checkpoint = Registry(store.address), store.run(run_id), _best(store, run_id)
    assert run.settings is not None
    env_id = run.settings.game.env_id
    champion = registry.champion(env_id)
    if champion and champion.checkpoint == checkpoint:
        return _standing(champion, f"{run.name} is the champion already", crowned=True)
    contender = registry.register(env_id, checkpoint, f"{run.name}, step {checkpoint.step:,}")
    contest = _contest(store, checkpoint, champion)
    words = f"{run.name}, step {checkpoint.step:,}, {contest.words}"
    registry.describe(contender, words)
    store.set_tag(run_id, "ramreel.champion", words)
    store.log_text(run_id, contest.model_dump_json(indent=2), _contest_path(contender))
    if contest.won:
        registry.crown(contender)
        events.champion_crowned(contender, run.settings, words)
        page = link(store, run_id)
        tell(f"ramreel: {env_id} has a new champion", f"{words}.\nRun: {page}")
    _show(f"champion-{_slug(env_id)}", f"Champion of {env_id}", _table(contest, contender, words))
    announce(words)
    return _standing(contender, words, crowned=contest.won)


@task(task_run_name="look whether run {run_id} has collapsed")
def look_for_collapse(run_id: str) -> str:
    """Say so, for a retraining to follow, if a training has lost at its end much of what it had gained.

    Returns:
        What was lost, in words; empty if it has not collapsed.
    """
    store = open_store()
    run = store.run(run_id)
    assert run.settings is not None
    lost = collapsed([store.fetch_evaluation(run_id, step) for step in store.evaluations(run_id)])
    champion = Registry(store.address).champion(run.settings.game.env_id)
    if lost and champion:
        words = f"{run.name} has collapsed: {lost}"
        _drop(store, champion, "collapse", words)
        tell(f"ramreel: {champion.env_id}: a training has collapsed", f"{words}.\nRun: {link(store, run_id)}")
    return lost


@task(task_run_name="look at the champion of {env_id}")
def inspect(env_id: str, episodes: int) -> ChampionStatus:
    """Have a champion play fresh seeds, and say so if it plays worse than when it was crowned.

    Raises:
        StoreError: the game has no champion, or the store is away.
    """
    store = open_store()
    champion = crowned(store, env_id)
    before = _when_crowned(store, champion)
    try:
        words, worse = _look(store, champion, before, episodes)
    except CheckpointError as error:
        return _dropped(store, champion, "checkpoint", f"the champion cannot play: {error}")
    if not worse:
        if champion.dropped:
            Registry(store.address).take_back(champion, DROPPED)
        _show(f"guard-{_slug(env_id)}", f"Champion of {env_id}", f"Version {champion.version}: {words}.")
        announce(f"{env_id}: {words}")
        return _standing(champion, words)
    changed = _changed_game(store, champion)
    if changed:
        return _dropped(store, champion, "game", f"plays worse: {words}; {changed}")
    return _dropped(store, champion, "checkpoint", f"plays worse: {words}; the game is the same, the policy is not")


def crowned(store: Store, env_id: str) -> Champion:
    """A game's champion.

    Raises:
        StoreError: it has none, or the store is away.
    """
    champion = Registry(store.address).champion(env_id)
    if champion is None:
        raise StoreError(f"{env_id} has no champion yet: a training that ends while `ramreel up` runs makes one")
    return champion


def champions() -> tuple[str, ...]:
    """Environment ids of the games that have a champion."""
    return tuple(champion.env_id for champion in Registry(open_store().address).champions())


def _look(store: Store, champion: Champion, before: Played, episodes: int) -> tuple[str, bool]:
    """What it plays now, in words, and whether that is worse by more than chance."""
    seed = secrets.randbelow(2**31)
    now = _play_champion(store, champion, evaluation_seeds(seed, episodes))
    means = f"mean return {now.mean:.1f} of {episodes} fresh episodes (seed {seed})"
    words = f"{means}, {before.mean:.1f} when it was crowned"
    if not suspicious(now, before):
        return words, False
    # Its old seeds are a question without chance: where nothing has changed, they are the same games to the byte.
    again = _play_champion(store, champion, tuple(episode.seed for episode in before.episodes))
    if again == before:
        return f"{words}; that is chance: on the seeds of then it plays the very same games", False
    both = Played(checkpoint=now.checkpoint, episodes=(*now.episodes, *again.episodes))
    return f"{words}, {again.mean:.1f} now on the seeds of then", suspicious(both, before)


def _changed_game(store: Store, champion: Champion) -> str:
    """How the emulator plays the champion's video otherwise than it did; empty if it does not, or there is no video."""
    video = store.videos(champion.run_id).get(champion.step)
    if video is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        try:
            proof = verify(read_trace(store.fetch_artifact(champion.run_id, video.trace, Path(folder))))
        except TraceError as error:
            return f"its video's trace cannot be read: {error}"
    return "" if proof.ok else f"the game is not what it was: {proof.what}{_new_versions(store.run(champion.run_id))}"


def _new_versions(run: StoredRun) -> str:
    then = run.versions
    found = [
        f"{name} {then[name]} → {now}" for name, now in provenance.versions().items() if then.get(name, now) != now
    ]
    return f" ({', '.join(found)})" if found else ""


def _dropped(store: Store, champion: Champion, cause: Cause, words: str) -> ChampionStatus:
    known = champion.dropped
    _drop(store, champion, cause, words)
    if known != cause:
        page = link(store, champion.run_id)
        tell(f"ramreel: the champion of {champion.env_id} plays worse", f"{words}.\nRun: {page}")
        Registry(store.address).note(champion, DROPPED, cause)
    _show(f"guard-{_slug(champion.env_id)}", f"Champion of {champion.env_id}", f"**Dropped** ({cause}): {words}.")
    announce(f"{champion.env_id}: {words}")
    return _standing(champion, words, dropped=True)


def _drop(store: Store, champion: Champion, cause: Cause, words: str) -> None:
    settings = store.run(champion.run_id).settings
    assert settings is not None
    events.performance_dropped(champion, settings, cause, words)


def _best(store: Store, run_id: str) -> StoredCheckpoint:
    evaluated = set(store.evaluations(run_id))
    kept = [checkpoint for checkpoint in store.list_checkpoints(run_id) if checkpoint.step in evaluated]
    if not kept:
        raise StoreError(f"no checkpoint of run {run_id} is evaluated: `ramreel record {run_id[:8]}` does it")
    return max(kept, key=lambda checkpoint: store.fetch_evaluation(run_id, checkpoint.step).mean_return)


def _contest(store: Store, challenger: StoredCheckpoint, champion: Champion | None) -> Contest:
    if champion is None:
        return decide(_play(store, challenger, _fresh_seeds(challenger, None)), None)
    seeds = _fresh_seeds(challenger, champion)
    played = _play(store, challenger, seeds)
    try:
        return decide(played, _play_champion(store, champion, seeds))
    except CheckpointError as error:
        return decide(played, None, f"the champion cannot play ({error})")


def _fresh_seeds(challenger: StoredCheckpoint, champion: Champion | None) -> tuple[int, ...]:
    """Seeds that no checkpoint was chosen by, and that everybody finds again."""
    both = challenger.digest + (champion.checkpoint.digest if champion else "")
    seed = int.from_bytes(hashlib.sha256(both.encode()).digest()[:4], "big") // 2
    return evaluation_seeds(seed, EPISODES)


def _play_champion(store: Store, champion: Champion, seeds: tuple[int, ...]) -> Played:
    """`_play`; to a champion a checkpoint that was deleted is what a damaged one is, and no reason to try again.

    Raises:
        CheckpointError: the checkpoint is damaged, or somebody has deleted it.
        StoreError: the store is away.
    """
    if not Registry(store.address).is_kept(champion):
        raise CheckpointError("its checkpoint is not in the store any more")
    return _play(store, champion.checkpoint, seeds)


def _play(store: Store, checkpoint: StoredCheckpoint, seeds: tuple[int, ...]) -> Played:
    """One episode a seed, on all cores."""
    shares = [share for at in range(cores()) if (share := seeds[at :: cores()])]
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        directory = store.fetch_checkpoint(checkpoint, Path(folder))
        with processes(len(shares), Path(folder)) as pool:
            play = partial(play_seeds, directory, checkpoint.digest, deterministic=False)
            found = {one.seed: one for share in pool.map(play, shares) for one in share}
    return Played(checkpoint=checkpoint.digest, episodes=tuple(found[seed] for seed in seeds))


def _when_crowned(store: Store, champion: Champion) -> Played:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        text = store.fetch_artifact(champion.run_id, _contest_path(champion), Path(folder)).read_text("utf-8")
    return parsed(Contest, text.encode()).challenger


def _contest_path(contender: Champion) -> str:
    return f"champion/version-{contender.version}.json"


def _standing(champion: Champion, words: str, *, dropped: bool = False, crowned: bool = False) -> ChampionStatus:
    return ChampionStatus(
        env_id=champion.env_id,
        version=champion.version,
        run_id=champion.run_id,
        step=champion.step,
        words=words,
        dropped=dropped,
        crowned=crowned,
    )


class _Row(NamedTuple):
    name: str
    played: Played


def _table(contest: Contest, contender: Champion, words: str) -> str:
    rows = [_Row(f"version {contender.version}", contest.challenger)]
    rows += [_Row("champion", contest.champion)] if contest.champion else []
    lines = [
        f"| {row.name} | {row.played.mean:.2f} | {len(row.played.episodes)} ({len(row.played.returns)} distinct) |"
        for row in rows
    ]
    return "\n".join([f"{words}.", "", "| who | mean return | episodes |", "| --- | --- | --- |", *lines])


def _show(key: str, title: str, markdown: str) -> None:
    create_markdown_artifact(f"# {title}\n\n{markdown}\n", key=key, description=title)


def _slug(env_id: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in env_id.lower())
