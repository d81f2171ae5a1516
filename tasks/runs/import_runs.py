"""Import of runs of other libraries: read completely first, then stored."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tasks.arcade import scores
from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.external_runs import (
    ExternalLog,
    ExternalRun,
    read_external_log,
    require_regular_file,
)
from tasks.arcade.learner import ExternalModel, read_sb3_zip
from tasks.arcade.settings.game import GameSettings
from tasks.execution import provenance
from tasks.store import Store, StoreError, one_line, start_import


@dataclass(frozen=True)
class LoadedImport:
    """A run of another library, read.

    Attributes:
        run: its metadata.
        log: its curves.
        model: the model of a zip; None for logs.
    """

    run: ExternalRun
    log: ExternalLog
    model: ExternalModel | None = None


def load_import(
    path: Path, game: GameSettings, approach: str, seed: int, *, trust: bool, frame_skip: int | None = None
) -> LoadedImport:
    """Read a run of another library, without storing anything.

    Args:
        path: a log, a folder of logs, or a zip.
        game: the game it was trained on.
        approach: its name in comparisons.
        seed: its training seed.
        trust: unpickle what cannot be read from a zip otherwise; this can run code that it contains.
        frame_skip: frames per step of the agent; None: as the files say, otherwise that of the game.

    Raises:
        ExternalRunError: it cannot be imported.
    """
    if path.suffix != ".zip":
        log = read_external_log(path, game, frame_skip)
        return LoadedImport(log.run(game, approach, seed), log)
    require_regular_file(path)
    if frame_skip is not None:
        game = game.model_copy(update={"frame_skip": frame_skip})
    model = read_sb3_zip(path, game, approach, seed, trust=trust)
    run = model.log.run(game, approach, seed).model_copy(update={"steps": model.steps})
    return LoadedImport(run, model.log, model)


def store_import(store: Store, loaded: LoadedImport, name: str, experiment: str | None) -> str:
    """Store a run of another library in MLflow and return its run id.

    Raises:
        StoreError: it cannot be written.
    """
    model, checkpoint = loaded.model, loaded.model and loaded.model.checkpoint
    run_id = start_import(
        store,
        loaded.run,
        name=name,
        experiment=experiment,
        settings=checkpoint.settings if checkpoint else None,
        params={f"imported.{key}": value for key, value in (model.parameters if model else {}).items()},
        **provenance.origin(),
    )
    try:
        with store.metric_writer(run_id) as writer:
            for metric, curve in loaded.log.curves.items():
                for step, value in curve:
                    writer.log({metric: value}, step)
            for evaluation in loaded.log.evaluations:
                returns = evaluation.returns
                mean, iqm = scores.mean(returns), scores.interquartile_mean(returns)
                writer.log({"eval/mean_reward": mean, "eval/iqm_reward": iqm}, evaluation.step)
        if checkpoint:
            with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
                playing = Path(folder) / "playing"
                digest = files.write_checkpoint(checkpoint, playing)
                description = files.read_description(playing)
                store.save_checkpoint(run_id, checkpoint.step, playing, digest, description=description)
    except BaseException as error:
        # A store that cannot take the reason must not hide it.
        with suppress(StoreError):
            store.finish_run(run_id, "FAILED", one_line(error))
        raise
    store.finish_run(run_id, "FINISHED")
    return run_id
