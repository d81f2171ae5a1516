"""Evaluation of champions and challengers on fresh seeds, and the head-to-head records of champions."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
from functools import partial
from pathlib import Path

from tasks.arcade.checkpoints.checkpoint import CheckpointError
from tasks.arcade.episodes.head_to_head import (
    EpisodeSample,
    HeadToHead,
    compare_head_to_head,
    evaluate_seeds,
    has_dropped,
)
from tasks.arcade.episodes.seeds import evaluation_seeds
from tasks.arcade.episodes.trace import TraceError, read_trace
from tasks.arcade.episodes.verify import verify
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.settings.base import parse_json
from tasks.arcade.settings.evaluation import FRESH_EPISODES
from tasks.execution import provenance
from tasks.execution.worker_processes import process_pool
from tasks.store import Champion, ChampionRegistry, Store, StoredCheckpoint, StoredRun, StoreError


def best_checkpoint_of(store: Store, run_id: str) -> StoredCheckpoint:
    """Return the run's stored checkpoint with the highest mean return.

    Raises:
        StoreError: no checkpoint of the run has been evaluated.
    """
    evaluated = set(store.evaluations(run_id))
    candidates = [checkpoint for checkpoint in store.list_checkpoints(run_id) if checkpoint.step in evaluated]
    if not candidates:
        raise StoreError(f"no checkpoint of run {run_id} is evaluated: run `ramreel record {run_id[:8]}` first")
    return max(candidates, key=lambda checkpoint: store.fetch_evaluation(run_id, checkpoint.step).mean_return)


def head_to_head(store: Store, challenger: StoredCheckpoint, champion: Champion | None) -> HeadToHead:
    """Evaluate a challenger and the champion on the same fresh seeds.

    Raises:
        CheckpointError: the challenger is damaged.
        StoreError: the store is unavailable.
    """
    seeds = _fresh_seeds(challenger, champion)
    sample = _evaluate(store, challenger, seeds)
    if champion is None:
        return compare_head_to_head(sample, None)
    try:
        return compare_head_to_head(sample, _evaluate_champion(store, champion, seeds))
    except CheckpointError as error:
        return compare_head_to_head(sample, None, f"the champion cannot play ({error})")


def _fresh_seeds(challenger: StoredCheckpoint, champion: Champion | None) -> tuple[int, ...]:
    """Return reproducible seeds that neither checkpoint was selected on."""
    both = challenger.digest + (champion.checkpoint.digest if champion else "")
    seed = int.from_bytes(hashlib.sha256(both.encode()).digest()[:4], "big") // 2
    return evaluation_seeds(seed, FRESH_EPISODES)


def reevaluate(store: Store, champion: Champion, before: EpisodeSample, episodes: int) -> tuple[str, bool]:
    """Evaluate a champion again, and test whether its returns have dropped.

    Args:
        store: the store.
        champion: the champion.
        before: its episodes when it was crowned.
        episodes: number of fresh episodes.

    Returns:
        A summary, and whether the returns are significantly lower.

    Raises:
        CheckpointError: the champion's checkpoint is damaged or was deleted.
    """
    seed = secrets.randbelow(2**31)
    now = _evaluate_champion(store, champion, evaluation_seeds(seed, episodes))
    means = f"mean return {now.mean:.1f} of {episodes} fresh episodes (seed {seed})"
    summary = f"{means}, {before.mean:.1f} when it was crowned"
    if not has_dropped(now, before):
        return summary, False
    # Its former seeds remove the chance: if nothing has changed, the episodes are byte-identical.
    again = _evaluate_champion(store, champion, tuple(episode.seed for episode in before.episodes))
    if again == before:
        return f"{summary}; the difference is chance: on its former seeds it plays identical episodes", False
    both = EpisodeSample(checkpoint=now.checkpoint, episodes=(*now.episodes, *again.episodes))
    return f"{summary}, {again.mean:.1f} now on its former seeds", has_dropped(both, before)


def _evaluate_champion(store: Store, champion: Champion, seeds: tuple[int, ...]) -> EpisodeSample:
    """Evaluate a champion. A deleted checkpoint counts as damaged: a retry would not bring it back.

    Raises:
        CheckpointError: the checkpoint is damaged or was deleted.
        StoreError: the store is unavailable.
    """
    if not ChampionRegistry(store.address).has_checkpoint(champion):
        raise CheckpointError("its checkpoint is no longer in the store")
    return _evaluate(store, champion.checkpoint, seeds)


def _evaluate(store: Store, checkpoint: StoredCheckpoint, seeds: tuple[int, ...]) -> EpisodeSample:
    """Play one episode per seed, on all cores."""
    shares = [share for start in range(cores()) if (share := seeds[start :: cores()])]
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        directory = store.fetch_checkpoint(checkpoint, Path(folder))
        with process_pool(len(shares), Path(folder)) as pool:
            evaluate = partial(evaluate_seeds, directory, checkpoint.digest, deterministic=False)
            by_seed = {episode.seed: episode for share in pool.map(evaluate, shares) for episode in share}
    return EpisodeSample(checkpoint=checkpoint.digest, episodes=tuple(by_seed[seed] for seed in seeds))


def log_head_to_head(store: Store, contender: Champion, result: HeadToHead) -> None:
    """Log the episodes of a head-to-head to the contender's run."""
    store.log_text(contender.run_id, result.model_dump_json(indent=2), _head_to_head_path(contender))


def sample_at_crowning(store: Store, champion: Champion) -> EpisodeSample:
    """Return the champion's episodes when it was crowned.

    Raises:
        StoreError: they are not in the store.
    """
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        text = store.fetch_artifact(champion.run_id, _head_to_head_path(champion), Path(folder)).read_text("utf-8")
    return parse_json(HeadToHead, text.encode()).challenger


def _head_to_head_path(contender: Champion) -> str:
    return f"champion/version-{contender.version}.json"


def game_change(store: Store, champion: Champion) -> str:
    """Describe how the champion's trace replays differently; empty if it does not, or if it has no video."""
    video = store.videos(champion.run_id).get(champion.step)
    if video is None:
        return ""
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        try:
            proof = verify(read_trace(store.fetch_artifact(champion.run_id, video.trace, Path(folder))))
        except TraceError as error:
            return f"its video's trace cannot be read: {error}"
    return "" if proof.ok else f"the game has changed: {proof.message}{_changed_versions(store.run(champion.run_id))}"


def _changed_versions(run: StoredRun) -> str:
    then = run.versions
    changed = [
        f"{name} {then[name]} → {now}" for name, now in provenance.versions().items() if then.get(name, now) != now
    ]
    return f" ({', '.join(changed)})" if changed else ""
