"""Gathering of pairs and training of a decoder, as jobs for worker processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from tasks.arcade.checkpoints.checkpoint import read_checkpoint
from tasks.arcade.decoding.decoder import Decoder, write_decoder
from tasks.arcade.decoding.fit import fit_decoder, split_by_episode
from tasks.arcade.decoding.measure_following import FollowingReport, measure_following
from tasks.arcade.decoding.pairs import Pairs, gather_pairs, join_pairs
from tasks.arcade.decoding.play_from_pixels import PixelSource
from tasks.arcade.decoding.play_returns import play_returns
from tasks.arcade.decoding.report import DecodingReport, measure_decoder
from tasks.arcade.scores.pixels_returns import RamSource
from tasks.arcade.settings.evaluation import EvaluationSettings
from tasks.arcade.settings.game import GameSettings

DECODER_FOLDER = "decoder"


@dataclass(frozen=True)
class StoredAgent:
    """A checkpoint that plays: its folder and digest."""

    directory: Path
    digest: str


def gather_part(game: GameSettings, agents: Sequence[StoredAgent], n: int, seed: int) -> tuple[Pairs, float]:
    """Play at least `n` pairs and return them with the CPU time in seconds.

    Raises:
        CheckpointError: A checkpoint is damaged.
        UnknownEnvironmentError: The game cannot be emulated.
    """
    begin = time.process_time()
    with threadpool_limits(1):
        players = [read_checkpoint(one.directory, one.digest).agent() for one in agents]
        pairs = gather_pairs(game, players, n, seed)
    return pairs, time.process_time() - begin


def train_decoder(
    game: GameSettings,
    parts: Sequence[tuple[Pairs, float]],
    players: tuple[str, ...],
    epochs: int,
    seed: int,
    folder: Path,
    log: Callable[[str], object],
) -> tuple[Decoder, DecodingReport, str]:
    """Train a decoder on one core, measure it on test episodes, and write it to `folder/decoder`.

    Args:
        game: Emulator settings.
        parts: Pairs of `gather_part`, with the CPU time.
        players: Who played: random, and digests of checkpoints.
        epochs: Passes of the network over the training episodes.
        seed: Seed of the split and of the training.
        folder: Folder to write the decoder's folder to.
        log: Receives lines on the progress.

    Returns:
        The decoder, its figures and its digest.

    Raises:
        DecoderError: The pairs have too few episodes.
    """
    begin = time.process_time()
    with threadpool_limits(1):
        pairs = join_pairs([part for part, _ in parts])
        split = split_by_episode(pairs.episodes, seed)
        decoder = fit_decoder(game, pairs, split, epochs=epochs, seed=seed, log=log)
        spent = time.process_time() - begin + sum(seconds for _, seconds in parts)
        report = measure_decoder(decoder, pairs, split, players, spent)
    return decoder, report, write_decoder(decoder, folder / DECODER_FOLDER)


def play_part(
    agent: StoredAgent, decoder: PixelSource, source: RamSource, settings: EvaluationSettings
) -> tuple[float, ...]:
    """Play the evaluation episodes of a checkpoint on RAM and return their returns.

    Raises:
        CheckpointError: The checkpoint is damaged.
    """
    with threadpool_limits(1):
        return play_returns(read_checkpoint(agent.directory, agent.digest), settings, source, decoder)


def follow_part(game: GameSettings, agent: StoredAgent | None, steps: int, seed: int) -> FollowingReport:
    """Follow the pictures of a checkpoint's play, or of random play, and return how exactly.

    Raises:
        CheckpointError: The checkpoint is damaged.
    """
    with threadpool_limits(1):
        player = read_checkpoint(agent.directory, agent.digest).agent() if agent else None
        return measure_following(game, player, steps, seed)
