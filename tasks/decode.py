"""Tasks of the decode flow: its MLflow run, pairs played in worker processes, the decoder and its figures in MLflow."""

from __future__ import annotations

import multiprocessing as mp
import tempfile
from concurrent.futures import as_completed
from pathlib import Path

import numpy as np
from prefect import task
from prefect.artifacts import create_markdown_artifact

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.decoding.decoder import Decoder
from tasks.arcade.decoding.jobs import (
    DECODER_FOLDER,
    StoredAgent,
    follow_part,
    gather_part,
    play_part,
    train_decoder,
)
from tasks.arcade.decoding.measure_following import FollowingReport
from tasks.arcade.decoding.page import render_html, render_markdown
from tasks.arcade.decoding.pairs import Pairs
from tasks.arcade.decoding.play_from_pixels import PixelSource
from tasks.arcade.decoding.poster import write_poster
from tasks.arcade.decoding.report import DecodingReport, summarize
from tasks.arcade.emulator.environment_ids import resolve, rom_path
from tasks.arcade.inputs.forms import DecodeSettings
from tasks.arcade.plural_forms import pluralize
from tasks.arcade.rollouts.worker_pool import cores
from tasks.arcade.scores.pixels_returns import SOURCES, RamSource
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.execution import provenance
from tasks.execution.progress_sink import current_sink
from tasks.execution.worker_processes import process_pool
from tasks.runs.run_description import artifact_link
from tasks.store import (
    Store,
    StoredCheckpoint,
    StoreError,
    newest_atlas,
    open_store,
    save_decoder,
    start_game_run,
    store_in_use,
)

_PARTS = 4
"""Independent parts of the play, each with its own seed; fixed, so that a decoder does not depend on the CPU cores."""
_PLAYERS = 3
"""Checkpoints of a run that play: evenly over its steps, the last one included."""
FIGURES = "decoding/figures.json"
"""Artifact path of a decoder's figures within its run; its page, table and picture are in the same folder.

The folder is not called like the model: MLflow's client would look for its files in the model, at another address."""
PAGE = "decoding/figures.html"
TABLE = "decoding/figures.md"
POSTER = "decoding/figures.png"


class DecodeResult(Settings):
    """A decoder in the store: MLflow's ids, artifact paths within its run, and figures of its test episodes."""

    run_id: str
    model_id: str
    digest: str
    figures: str
    page: str
    table: str
    poster: str
    train_pairs: int
    test_pairs: int
    players: tuple[str, ...]
    metrics: dict[str, float]
    summary: tuple[str, ...]


@task(task_run_name="start decoder of {settings.env_id}")
def start_decoder_run(settings: DecodeSettings) -> str:
    """Start the decoder's own MLflow run and return its run id.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        RomError: the ROM of the game cannot be read.
    """
    game = resolve(settings.env_id)
    rom_path(game.rom)
    return start_game_run(
        open_store(),
        "decoder",
        settings,
        game,
        name=settings.name or f"decoder of {settings.env_id}",
        **provenance.origin(),
    )


@task(task_run_name="train decoder of {settings.env_id}")
def train_and_log_decoder(run_id: str, settings: DecodeSettings) -> DecodeResult:
    """Play pairs of picture and RAM, train and measure a decoder, and log both to its run.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        StoreError: a run whose checkpoints play has none.
        CheckpointError: a checkpoint is damaged.
        DecoderError: the pairs have too few episodes.
    """
    store = open_store()
    with tempfile.TemporaryDirectory(prefix="ramreel-") as name:
        folder = Path(name)
        stored = [one for run in settings.runs or _newest_run(store, settings.env_id) for one in _players(store, run)]
        agents = [StoredAgent(store.fetch_checkpoint(one, folder / "checkpoints"), one.digest) for one in stored]
        parts = _gather(settings, agents, folder)
        players = ("random", *(one.digest for one in stored))
        decoder, report, digest = _train(settings, parts, players, folder)
        report = report.model_copy(update={"following": _follow(settings, agents, folder)})
        if stored and not _plays_pixels(store, stored[-1].run_id):
            source = PixelSource("decode", folder / DECODER_FOLDER, digest)
            report = report.model_copy(update={"returns": _play(settings, agents[-1], source, folder)})
        model_id = save_decoder(store, run_id, decoder, folder / DECODER_FOLDER, digest)
        _save_figures(store, run_id, report, folder)
    summary = summarize(report)
    links = " · ".join(
        artifact_link(store, run_id, path, text) for path, text in ((PAGE, "Figures"), (POSTER, "picture"))
    )
    store.set_description(run_id, f"Decoder of {settings.env_id}: {summary[0]}\n\n{links}")
    create_markdown_artifact(
        render_markdown(report), key=f"decoder-{run_id[:8]}", description=f"Decoder of {settings.env_id}"
    )
    return DecodeResult(
        run_id=run_id,
        model_id=model_id,
        digest=digest,
        figures=FIGURES,
        page=PAGE,
        table=TABLE,
        poster=POSTER,
        train_pairs=report.train_pairs,
        test_pairs=report.test_pairs,
        players=players,
        metrics=report.figures(),
        summary=summary,
    )


def _newest_run(store: Store, env_id: str) -> tuple[str, ...]:
    """Return the run id of the game's newest finished training run with a checkpoint; none if there is none."""
    tags = {"ramreel.kind": "training", "ramreel.env_id": env_id}
    runs = store.runs_with(tags, status="FINISHED", limit=1)
    return tuple(run for run in runs if store.list_checkpoints(run))


def _players(store: Store, run_id: str) -> list[StoredCheckpoint]:
    """Return checkpoints of a run, evenly over its steps: a beginner and an expert reach different states."""
    checkpoints = store.checkpoints_at(run_id)
    chosen = np.linspace(len(checkpoints) / _PLAYERS, len(checkpoints), _PLAYERS).round().astype(int) - 1
    return [checkpoints[max(0, index)] for index in sorted(set(chosen.tolist()))]


def _gather(settings: DecodeSettings, agents: list[StoredAgent], folder: Path) -> list[tuple[Pairs, float]]:
    """Play in parallel; the parts are in the order of their seeds."""
    game, n = resolve(settings.env_id), -(-settings.pairs // _PARTS)
    seeds = [int(np.random.SeedSequence(settings.seed, spawn_key=(3, k)).generate_state(1)[0]) for k in range(_PARTS)]
    with process_pool(min(cores(), _PARTS), folder) as pool:
        futures = [pool.submit(gather_part, game, agents, n, seed) for seed in seeds]
        for number, future in enumerate(as_completed(futures), 1):
            pairs, _ = future.result()
            current_sink().log(f"{number} of {_PARTS} parts: {len(pairs):,} pairs of picture and RAM")
        return [future.result() for future in futures]


def _train(
    settings: DecodeSettings, parts: list[tuple[Pairs, float]], players: tuple[str, ...], folder: Path
) -> tuple[Decoder, DecodingReport, str]:
    """Train in a process of its own, whose lines on the progress are logged here."""
    game = resolve(settings.env_id)
    with mp.get_context("spawn").Manager() as manager, process_pool(1, folder) as pool:
        lines = manager.Queue()
        future = pool.submit(train_decoder, game, parts, players, settings.epochs, settings.seed, folder, lines.put)
        future.add_done_callback(lambda _: lines.put(None))
        for line in iter(lines.get, None):
            current_sink().log(line)
        return future.result()


def _plays_pixels(store: Store, run_id: str) -> bool:
    trained = store.run(run_id).settings
    return trained is None or trained.approach.features.uses_pixels


def _follow(settings: DecodeSettings, agents: list[StoredAgent], folder: Path) -> FollowingReport:
    current_sink().log("following the pictures of the last checkpoint" if agents else "following random play")
    game, agent, steps = resolve(settings.env_id), agents[-1] if agents else None, settings.followed_steps
    with process_pool(1, folder) as pool:
        return pool.submit(follow_part, game, agent, steps, _test_seed(settings)).result()


def _play(
    settings: DecodeSettings, agent: StoredAgent, decoder: PixelSource, folder: Path
) -> dict[RamSource, tuple[float, ...]]:
    """Return the returns of a checkpoint by the RAM that it observes, on seeds that no pair was played with."""
    evaluation = EvaluationSettings(episodes=settings.episodes, seed=_test_seed(settings))
    episodes = pluralize(settings.episodes, "episode")
    current_sink().log(f"playing {episodes} each from {', '.join(SOURCES[:-1])} RAM, and at random")
    with process_pool(min(cores(), len(SOURCES)), folder) as pool:
        futures = {source: pool.submit(play_part, agent, decoder, source, evaluation) for source in SOURCES}
        return {source: future.result() for source, future in futures.items()}


def _test_seed(settings: DecodeSettings) -> int:
    """Return a seed for play that no pair was played with."""
    return int(np.random.SeedSequence(settings.seed, spawn_key=(4,)).generate_state(1)[0]) // 2


def _save_figures(store: Store, run_id: str, report: DecodingReport, folder: Path) -> None:
    files = folder / "figures"
    files.mkdir()
    poster = files / Path(POSTER).name
    write_poster(report, _atlas(report.game.rom), poster)
    (files / Path(FIGURES).name).write_text(report.model_dump_json(indent=2), "utf-8")
    (files / Path(TABLE).name).write_text(render_markdown(report), "utf-8")
    (files / Path(PAGE).name).write_text(render_html(report, poster.read_bytes()), "utf-8")
    store.log_artifacts(run_id, files, str(Path(FIGURES).parent))
    store.log_metrics(run_id, {f"decoder/{name}": value for name, value in report.figures().items()}, step=0)


def _atlas(rom: str) -> Atlas | None:
    try:
        return newest_atlas(store_in_use(), rom)
    except StoreError as error:
        # A picture without the atlas's kinds is better than none.
        current_sink().log(f"the picture has no kinds of the atlas: {error}")
        return None
