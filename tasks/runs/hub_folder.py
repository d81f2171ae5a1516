"""A folder ready for the Hugging Face Hub: the model as a zip, a video as `replay.mp4`, and a model card."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from statistics import pstdev
from typing import Any

import yaml
from slugify import slugify

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.learner import export
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.policies.algorithms import algorithm_of
from tasks.execution import provenance
from tasks.store import Store, StoredCheckpoint, StoreError

CARD, REPLAY, RESULTS = "README.md", "replay.mp4", "results.json"
_LOADED = """```python
# ramreel must be installed: it computes the features.
from {module} import {algorithm}

model = {algorithm}.load("{zip}")
```"""


def evaluation_for_hub(store: Store, stored: StoredCheckpoint) -> Evaluation:
    """Return the evaluation of a checkpoint that has a video.

    Raises:
        StoreError: it was not recorded.
    """
    if stored.step not in store.complete_videos(stored.run_id):
        raise StoreError(
            f"the checkpoint at step {stored.step:,} has no results and no video for the Hub: run `ramreel record "
            f"{stored.run_id[:8]}` first"
        )
    return store.fetch_evaluation(stored.run_id, stored.step)


def write_hub_folder(
    store: Store, stored: StoredCheckpoint, checkpoint: Checkpoint, evaluation: Evaluation, folder: Path
) -> str:
    """Write a folder for the Hub, and return the name of its zip.

    Args:
        store: the store.
        stored: the checkpoint in the store.
        checkpoint: the checkpoint.
        evaluation: its evaluation.
        folder: the folder; it is created, and files of an earlier export in it are replaced.

    Raises:
        ExportError: the approach does not learn.
        StoreError: the video cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = checkpoint.settings
    name = f"{slugify(settings.approach.name)}-{slugify(settings.game.env_id)}.zip"
    export(checkpoint, folder / name)
    video = store.videos(stored.run_id)[stored.step]
    with tempfile.TemporaryDirectory(prefix="ramreel-") as temporary:
        shutil.copyfile(store.fetch_artifact(stored.run_id, video.mp4, Path(temporary)), folder / REPLAY)
    (folder / RESULTS).write_text(json.dumps(_results(evaluation), indent=2) + "\n", "utf-8")
    (folder / CARD).write_text(model_card(checkpoint, evaluation, name), "utf-8")
    return name


def _results(evaluation: Evaluation) -> dict[str, Any]:
    """Return the results under the names of rl-baselines3-zoo's `results.json`."""
    return {
        "mean_reward": evaluation.mean_return,
        "std_reward": pstdev(evaluation.returns),
        "is_deterministic": evaluation.settings.deterministic,
        "n_eval_episodes": len(evaluation.episodes),
        "n_distinct_episodes": evaluation.distinct_episodes,
    }


def model_card(checkpoint: Checkpoint, evaluation: Evaluation, name: str) -> str:
    """Return the model card: metadata as the Hub reads it, results, and how to load the model.

    Args:
        checkpoint: the checkpoint.
        evaluation: its evaluation.
        name: file name of the zip.
    """
    settings, training = checkpoint.settings, algorithm_of(checkpoint.settings.approach).training
    assert training is not None
    module, _, algorithm = training.exported.replace(":", ".").rpartition(".")
    env_id, approach = settings.game.env_id, settings.approach
    mean = f"{evaluation.mean_return:.2f} +/- {pstdev(evaluation.returns):.2f}"
    task = {"type": "reinforcement-learning", "name": "reinforcement-learning"}
    dataset = {"name": env_id, "type": env_id}
    metrics = [{"type": "mean_reward", "name": "mean_reward", "value": mean, "verified": False}]
    metadata = {
        "library_name": "stable-baselines3",
        "tags": [env_id, "deep-reinforcement-learning", "reinforcement-learning", "stable-baselines3", "atari-ram"],
        "model-index": [
            {"name": algorithm, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]},
        ],
    }
    observation = "the last four frames" if approach.features.uses_pixels else "the 128 bytes of the console's RAM"
    versions = ", ".join(f"{package} {version}" for package, version in provenance.versions().items())
    sticky = f"sticky actions with probability {settings.game.repeat_action_probability:g}"
    return "\n\n".join([
        f"---\n{yaml.safe_dump(metadata, sort_keys=False).rstrip()}\n---",
        f"# {algorithm} on {env_id}, from {observation}",
        f"{approach.description}, trained for {checkpoint.step:,} steps with ramreel; its policy observes "
        f"{observation}, never the picture in `{REPLAY}`.",
        f"Mean return {mean} of {pluralize(len(evaluation.episodes), 'whole episode')} "
        f"({evaluation.distinct_episodes} distinct), with {sticky}: {RESULTS}.",
        _LOADED.format(module=module, algorithm=algorithm, zip=name),
        "The observation is that of `gymnasium.wrappers.FrameStackObservation(env, 2)` over `obs_type=\"ram\"`."
        if not approach.features.uses_pixels
        else "The observation is the last four frames, uint8 of shape (4, 84, 84).",
        f"Settings:\n\n```json\n{settings.model_dump_json(indent=2)}\n```",
        f"Versions: {versions}.",
        "",
    ])  # fmt: skip
