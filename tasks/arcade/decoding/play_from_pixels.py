"""Episodes of a player on RAM that observes what is read from pictures, and never the RAM itself."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from tasks.arcade.decoding.decoder import Decoder, read_decoder
from tasks.arcade.decoding.ram_reader import RamReader
from tasks.arcade.decoding.wrapper import RamFromPixels
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.playing import EpisodeRunner, Player, TraceRecorder, extend_digest
from tasks.arcade.episodes.trace import SHORT_DIGEST, ReadFromPixels, Trace
from tasks.arcade.settings.evaluation import PixelMethod
from tasks.arcade.settings.game import GameSettings


@dataclass(frozen=True)
class PixelSource:
    """How RAM is read from pictures.

    Attributes:
        method: `follow` or `decode`.
        decoder: Folder of the decoder; None: none.
        digest: Digest of the decoder.
    """

    method: PixelMethod
    decoder: Path | None = None
    digest: str | None = None

    def reader(self, game: GameSettings) -> RamReader:
        """Return a reader of the pictures of an environment.

        Raises:
            DecoderError: The decoder is missing, damaged, or of another game.
        """
        return RamReader(game, self.method, self._read_decoder())

    def wrap(self, env: gymnasium.Env[Any, Any]) -> RamFromPixels:
        """Return an environment of pictures as one of RAM.

        Raises:
            DecoderError: The decoder is missing, damaged, or of another game.
        """
        return RamFromPixels(env, self.method, self._read_decoder())

    def _read_decoder(self) -> Decoder | None:
        return read_decoder(self.decoder, self.digest) if self.decoder else None


def play_from_pixels(
    player: Player,
    game: GameSettings,
    seed: int,
    *,
    source: PixelSource,
    action_seed: int,
    deterministic: bool,
    env: gymnasium.Env[Any, Any] | None = None,
    max_steps: int | None = None,
    checkpoint: str | None = None,
    checkpoint_step: int | None = None,
) -> Trace:
    """Play one seeded episode from pictures and return its trace.

    The player acts in Gymnasium's environment, of which only pictures are observed. The digests of the trace are those
    of the emulator's RAM: the actions are played again in an emulator of their own.

    Args:
        player: Player on RAM.
        game: Emulator settings.
        seed: Reset seed.
        source: How RAM is read from pictures.
        action_seed: Seed of the generator of the one uniform number per step that the player samples with.
        deterministic: Whether to give the player no uniform number, so that it acts greedily.
        env: Environment of the game that returns pictures, and is closed afterwards (default: a new one).
        max_steps: Maximum steps (default: until the episode ends).
        checkpoint: Digest of the player's checkpoint, for the trace.
        checkpoint_step: Training step of the player's checkpoint, for the trace.

    Raises:
        UnknownEnvironmentError: The game cannot be emulated.
        DecoderError: The decoder is missing, damaged, or of another game.
    """
    uniforms, decide = np.random.default_rng(action_seed), player.start_episode()
    actions = list[int]()
    with closing(source.wrap(env or make_env(game, obs_type="rgb"))) as pixels:
        ram, _ = pixels.reset(seed=seed)
        previous, chain, ended = ram, extend_digest(b"", ram), False
        digests = [chain.hex()[:SHORT_DIGEST]]
        while not ended and len(actions) != max_steps:
            actions.append(decide(ram, previous, None if deterministic else float(uniforms.random())))
            previous = ram
            ram, _, terminated, truncated, _ = pixels.step(actions[-1])
            ended, chain = terminated or truncated, extend_digest(chain, ram)
            digests.append(chain.hex()[:SHORT_DIGEST])
    recorder = _replay(game, seed, actions)
    trace = recorder.trace(
        game,
        seed,
        action_seed=action_seed,
        deterministic=deterministic,
        checkpoint=checkpoint,
        checkpoint_step=checkpoint_step,
    )
    observed = ReadFromPixels(method=source.method, decoder=source.digest, digests=tuple(digests))
    return trace.model_copy(update={"from_pixels": observed})


def _replay(game: GameSettings, seed: int, actions: list[int]) -> TraceRecorder:
    episode = EpisodeRunner(Emulator(game, seed))
    recorder = TraceRecorder(episode.reset(seed))
    for action in actions:
        recorder.append(action, episode.step(action))
    return recorder
