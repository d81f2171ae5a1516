"""Runs from elsewhere: looked at first, and only what is whole is kept."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade import scores
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.external_runs import ForeignError, ForeignLog, ForeignRun, ordinary, read
from tasks.arcade.learner import ForeignModel, read_zip
from tasks.arcade.settings.game import GameSettings
from tasks.execution import provenance
from tasks.store import Store, StoreError, one_line, start_import


@dataclass(frozen=True)
class Found:
    """A run from elsewhere, read.

    Attributes:
        run: as it is kept.
        log: with its curves.
        model: of a zip; none for logs.
    """

    run: ForeignRun
    log: ForeignLog
    model: ForeignModel | None = None


def look(path: Path, game: GameSettings, approach: str, seed: int, *, trust: bool) -> Found:
    """Read a run from elsewhere; nothing is written.

    Args:
        path: a log, a folder of logs, or a zip.
        game: that was played.
        approach: what it is called in comparisons.
        seed: of its training.
        trust: whether code in a zip may run.

    Raises:
        ForeignError: it cannot be used.
    """
    if path.suffix != ".zip":
        log = read(path, game)
        return Found(log.run(game, approach, seed), log)
    ordinary(path)
    if not trust:
        raise ForeignError(
            f"{path} is a zip of Stable-Baselines3, and reading one can run code that is in it: "
            "--trust says that you trust whoever made it"
        )
    model = read_zip(path, game, approach, seed)
    run = model.log.run(game, approach, seed).model_copy(update={"steps": model.steps})
    return Found(run, model.log, model)


def keep(store: Store, found: Found, name: str, experiment: str | None) -> str:
    """Keep a run from elsewhere in MLflow; returns its id.

    Raises:
        StoreError: it could not be written.
    """
    model, checkpoint = found.model, found.model and found.model.checkpoint
    run_id = start_import(
        store,
        found.run,
        name=name,
        experiment=experiment,
        settings=checkpoint.settings if checkpoint else None,
        params={f"imported.{word}": value for word, value in (model.parameters if model else {}).items()},
        **provenance.origin(),
    )
    try:
        with store.metric_log(run_id) as log:
            for metric, curve in found.log.curves.items():
                for step, value in curve:
                    log.log({metric: value}, step)
            for evaluation in found.log.evaluations:
                returns = evaluation.returns
                mean, iqm = scores.mean(returns), scores.interquartile_mean(returns)
                log.log({"eval/mean_reward": mean, "eval/iqm_reward": iqm}, evaluation.step)
        if checkpoint:
            with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
                digest = files.write(checkpoint, Path(folder) / "playing")
                store.save_checkpoint(run_id, checkpoint.step, Path(folder) / "playing", digest)
    except BaseException as error:
        # A store that cannot take the reason must not hide it.
        with suppress(StoreError):
            store.finish_run(run_id, "FAILED", one_line(error))
        raise
    store.finish_run(run_id, "FINISHED")
    return run_id
