"""Recording's side effects: each checkpoint played and filmed in a process of its own, films and figures to MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from tasks.arcade.atlas.model import Atlas
from tasks.arcade.emulator.emulator import rom_digest
from tasks.arcade.episodes.evaluation import Evaluation
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings, FilmSettings
from tasks.arcade.video.checkpoint_video import FilmFiles, episode_name, evaluate_and_film
from tasks.execution.progress_sink import audience
from tasks.execution.retries import after_a_death
from tasks.execution.worker_processes import in_a_process
from tasks.runs.lookup import wanted_evaluation
from tasks.store import Film, Store, StoredCheckpoint, StoreError, newest_atlas, open_store, store_in_use


class FilmedCheckpoint(Settings):
    """A film in the store, and what it shows; paths are artifact paths within the run."""

    step: int
    path: str
    trace: str
    choice: str
    episode: int
    frames: int
    episode_return: float
    mean_return: float
    episodes: int
    distinct_episodes: int


@task(task_run_name="look for checkpoints")
def checkpoints_to_film(
    run_id: str, steps: tuple[int, ...] | None, again: bool, last: bool = False
) -> tuple[StoredCheckpoint, ...]:
    """The run's checkpoints that have no film or no figures yet, or all of them if asked for again.

    Raises:
        StoreError: the run has no checkpoint, or not the one that is asked for.
    """
    return _due(open_store(), run_id, steps, again, last)


def _due(
    store: Store, run_id: str, steps: tuple[int, ...] | None, again: bool, last: bool
) -> tuple[StoredCheckpoint, ...]:
    wanted = store.checkpoints_at(run_id, steps)[-1 if last else 0 :]
    done = {} if again else store.whole_films(run_id)
    return tuple(checkpoint for checkpoint in wanted if checkpoint.step not in done)


@task(task_run_name="look for an atlas")
def find_atlas(run_id: str) -> Atlas | None:
    """The newest atlas of the game that a run plays; none: there is none, or none that can be used here."""
    store = store_in_use()
    settings = store.run(run_id).settings
    if settings is None:
        return None
    rom = settings.game.rom
    try:
        atlas = newest_atlas(store, rom)
    except StoreError as error:
        # A film without outlines is better than none.
        line = f"nothing is outlined: {error}"
        get_run_logger().warning(line)
        audience().said(line)
        return None
    return atlas if atlas and atlas.rom_sha256 == rom_digest(rom) else None


@task(
    task_run_name="film checkpoint at step {checkpoint.step}",
    retries=1,
    retry_delay_seconds=1,
    retry_condition_fn=after_a_death,
)
def film_checkpoint(
    checkpoint: StoredCheckpoint, settings: EvaluationSettings | None, wanted: FilmSettings, atlas: Atlas | None
) -> FilmedCheckpoint:
    """Fetch a checkpoint, play it, film the episode that is wanted; films, traces and figures go to the run.

    Args:
        checkpoint: the checkpoint.
        settings: how it is judged; none: as was asked for with its training.
        wanted: which episode is filmed, and what the film shows.
        atlas: for the outlines; none: there are none.

    Raises:
        CheckpointError: the checkpoint is damaged.
        FilmError: the film could not be made.
    """
    store = store_in_use()
    judged = settings or wanted_evaluation(store.run(checkpoint.run_id))
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        directory = store.fetch_checkpoint(checkpoint, folder / "checkpoint")
        evaluation = in_a_process(
            folder, evaluate_and_film, directory, checkpoint.digest, judged, wanted, folder, atlas
        )
        store.retract_evaluation(checkpoint.run_id, checkpoint.step)
        film = _save(store, checkpoint, evaluation, folder)
    store.log_metrics(checkpoint.run_id, evaluation.metrics(), checkpoint.step, checkpoint.model_id)
    # Last: what has an evaluation has everything.
    store.save_evaluation(checkpoint.run_id, evaluation)
    made = filmed(evaluation, film.mp4, film.trace)
    figures = f"return {made.episode_return:g}, {made.choice}, mean {made.mean_return:.1f}"
    line = f"step {made.step:,}: {figures}"
    get_run_logger().info(line)
    audience().said(f"filmed {line}")
    return made


def _save(store: Store, checkpoint: StoredCheckpoint, evaluation: Evaluation, folder: Path) -> Film:
    run_id, step = checkpoint.run_id, checkpoint.step
    if evaluation.film.episode == "all":
        for number in range(len(evaluation.episodes)):
            name = episode_name(number)
            files = FilmFiles.within(folder, name)
            store.save_film(run_id, step, files.mp4, files.trace, episode=name)
    files = FilmFiles.within(folder)
    return store.save_film(run_id, step, files.mp4, files.trace)


def filmed(evaluation: Evaluation, path: str, trace: str) -> FilmedCheckpoint:
    """A film's row, from its checkpoint's evaluation."""
    return FilmedCheckpoint(
        step=evaluation.step,
        path=path,
        trace=trace,
        choice=evaluation.choice,
        episode=evaluation.filmed,
        frames=evaluation.film_frames,
        episode_return=evaluation.episodes[evaluation.filmed].episode_return,
        mean_return=evaluation.mean_return,
        episodes=len(evaluation.episodes),
        distinct_episodes=evaluation.distinct_episodes,
    )


@task(task_run_name="list films")
def show_films(run_id: str, films: tuple[FilmedCheckpoint, ...]) -> None:
    """A table of the films, in Prefect's UI."""
    rows = [
        {
            "step": film.step,
            "mean return": round(film.mean_return, 2),
            "episodes": f"{film.episodes} ({film.distinct_episodes} distinct)",
            "return in the film": film.episode_return,
            "which episode": film.choice,
            "film": film.path,
        }
        for film in films
    ]
    name = store_in_use().run(run_id).name
    create_table_artifact(rows, key=f"films-{run_id[:8]}", description=f"Films of {name}")


@task(task_run_name="find run {reference}")
def find_run(reference: str) -> str:
    """MLflow's id of a run that is named by it, a beginning of it, its name, or `latest`.

    Raises:
        StoreError: there is none, or more than one.
    """
    return open_store().resolve_run(reference)


@task(task_run_name="look for films")
def films_of(run_id: str) -> tuple[FilmedCheckpoint, ...]:
    """The run's films, by step."""
    store = store_in_use()
    return tuple(
        filmed(store.fetch_evaluation(run_id, step), film.mp4, film.trace)
        for step, film in store.whole_films(run_id).items()
    )


@task(task_run_name="note failure")
def note_failure(run_id: str, reason: str) -> None:
    """Keep on the run why something made of it failed; the training itself stays as it ended."""
    store_in_use().note_failure(run_id, reason)


@task(task_run_name="note that films are there")
def clear_failure(run_id: str, last: bool) -> None:
    """Take back what is said of films that failed, once no checkpoint, or not the last one, is without its film."""
    store = store_in_use()
    if not _due(store, run_id, None, again=False, last=last):
        store.clear_failure(run_id)
