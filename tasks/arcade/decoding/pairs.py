"""Pairs of picture and RAM, gathered by playing: what a decoder is trained and tested on."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.picture_features import PackedScreen, pack_colors
from tasks.arcade.emulator.emulator import Emulator, Screen
from tasks.arcade.emulator.frame_stack import ObservationBuilder
from tasks.arcade.policies.agent import Agent
from tasks.arcade.settings.game import GameSettings

MAX_EPISODE_STEPS = 3000
"""Steps of an episode after which it counts as complete: one long episode is not most of the data."""
_RANDOM_SHARE = 0.15
"""Share of random actions in every second episode of an agent: states that its own play does not reach."""


@dataclass(frozen=True)
class Pairs:
    """Pairs in the order they were played.

    Attributes:
        pictures: Palette indices of each screen, uint8 of `size`, compressed by zlib.
        rams: uint8 of shape (n, 128).
        episodes: Number of the episode of each pair, int64 of shape (n,), ascending.
        palette: Color of each palette index as 0xRRGGBB, int32 of shape (256,); -1 for those that did not occur.
        size: (height, width) of the pictures.
    """

    pictures: tuple[bytes, ...]
    rams: npt.NDArray[np.uint8]
    episodes: npt.NDArray[np.int64]
    palette: PackedScreen
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.pictures)

    def picture(self, index: int) -> Screen:
        """Return the palette indices of a screen: uint8 of `size`."""
        return np.frombuffer(zlib.decompress(self.pictures[index]), np.uint8).reshape(self.size)

    def screen(self, index: int) -> Screen:
        """Return a screen in RGB: uint8 of shape (height, width, 3)."""
        packed = self.palette[self.picture(index)]
        return np.stack([packed >> 16, (packed >> 8) & 255, packed & 255], axis=-1).astype(np.uint8)

    @property
    def starts(self) -> npt.NDArray[np.bool_]:
        """Whether each pair is the first one of its episode."""
        return np.concatenate([[True], np.diff(self.episodes) != 0])


class _Recorder:
    """Collects pairs of an emulator."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._indices: Screen = np.zeros(emulator.screen_size, np.uint8)
        self.palette = np.full(256, -1, np.int32)
        self.pictures, self.rams, self.episodes = list[bytes](), list[npt.NDArray[np.uint8]](), list[int]()

    def add(self, episode: int) -> None:
        indices = self._emulator.screen_indices(self._indices)
        if self.palette.take(indices).min() < 0:
            self.palette[indices] = pack_colors(self._emulator.screen())
        self.pictures.append(zlib.compress(indices.tobytes(), 1))
        self.rams.append(self._emulator.ram.copy())
        self.episodes.append(episode)


def gather_pairs(game: GameSettings, agents: Sequence[Agent], n: int, seed: int) -> Pairs:
    """Play whole episodes and return the picture and the RAM of every step.

    Random play has the share of one agent, or a third of the steps if there are more agents; the agents share the rest.

    Args:
        game: Emulator settings.
        agents: Agents of the game's checkpoints; may be empty.
        n: Number of pairs, at least; the last episode is played to its end.
        seed: Seed of episodes and actions.

    Raises:
        UnknownEnvironmentError: The game cannot be emulated.
    """
    rng = np.random.default_rng(seed)
    players: list[Agent | None] = [None, *agents]
    emulator = Emulator(game)
    recorder = _Recorder(emulator)
    # Which of them begins depends on the seed: parts with few episodes differ in their players.
    steps = rng.random(len(players))
    # Random play reaches states that no agent does: from three agents on it counts as much as half of them together.
    weights = np.array([max(1.0, len(agents) / 2), *[1.0] * len(agents)])
    episode = 0
    while len(recorder.pictures) < n:
        player = int((steps / weights).argmin())
        agent = players[player]
        random_share = 1.0 if agent is None else _RANDOM_SHARE * (episode % 2)
        steps[player] += _play(recorder, emulator, agent, random_share, episode, rng)
        episode += 1
    return Pairs(
        tuple(recorder.pictures),
        np.stack(recorder.rams),
        np.array(recorder.episodes, np.int64),
        recorder.palette,
        emulator.screen_size,
    )


def _play(
    recorder: _Recorder,
    emulator: Emulator,
    agent: Agent | None,
    random_share: float,
    episode: int,
    rng: np.random.Generator,
) -> int:
    """Play one episode and return its number of steps."""
    emulator.reset(int(rng.integers(2**31)))
    observe, decide = None, None
    if agent is not None:
        observe, decide = ObservationBuilder(agent, emulator), agent.start_episode()
    recorder.add(episode)
    # Random play holds its actions for a while, in each episode for another time: at random, a paddle goes nowhere.
    action, change = 0, 1.0 if agent else float(rng.uniform(0.2, 1))
    for step in range(MAX_EPISODE_STEPS):
        if observe and decide:
            action = decide(*observe(emulator.ram.copy(), episode_start=step == 0), float(rng.random()))
        if rng.random() < random_share * change:
            action = int(rng.integers(emulator.n_actions))
        _, terminated, truncated = emulator.step(action)
        recorder.add(episode)
        if terminated or truncated:
            break
    return step + 1


def join_pairs(parts: Sequence[Pairs]) -> Pairs:
    """Return the pairs of several independent parts, their episodes renumbered."""
    offsets = np.cumsum([0, *(int(part.episodes[-1]) + 1 for part in parts[:-1])])
    return Pairs(
        tuple(picture for part in parts for picture in part.pictures),
        np.concatenate([part.rams for part in parts]),
        np.concatenate([part.episodes + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.max([part.palette for part in parts], axis=0),
        parts[0].size,
    )
