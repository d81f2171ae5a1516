"""An emulator that follows the pictures of another one: exact RAM from screens and actions alone.

A second emulator starts where every episode of the game starts. At every step it executes the given action with every
number of frames for which sticky actions may have delayed it, and keeps the states that show the observed screen. It
never reads the state of the environment that it follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.picture_features import PackedScreen, pack_colors
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator, Ram, Screen, Snapshot
from tasks.arcade.settings.game import GameSettings

MAX_HYPOTHESES = 64
"""States kept per step, the likeliest first; Pong and Breakout have two or three at a time."""
_MAX_LOST = 16
"""States kept while none shows the observed screen: the nearest ones."""

Confidence = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RamEstimate:
    """RAM behind a screen.

    Attributes:
        ram: uint8 of shape (128,): that of the likeliest state.
        confidence: Probability of each byte, float32 of shape (128,), given all states that show the observed screens;
            0 while lost.
        lost: Whether no state shows the observed screen; `ram` is then that of the state with the nearest screen.
        n_hypotheses: Number of states that are kept.
    """

    ram: Ram
    confidence: Confidence
    lost: bool
    n_hypotheses: int


class _Hypothesis(NamedTuple):
    """A state that shows the screens observed so far.

    Attributes:
        snapshot: The state, without the random generator.
        action: Action that the emulator executed last, which a sticky action repeats.
        log_probability: Log probability of all delays that lead here.
        ram: uint8 of shape (128,).
    """

    snapshot: Snapshot
    action: int
    log_probability: float
    ram: Ram


@dataclass
class _Survivors:
    """States after a step, by serialized state and last action.

    Attributes:
        matching: Those that show the observed screen.
        nearest: The others, with the number of different pixels.
    """

    matching: dict[tuple[bytes, int], _Hypothesis] = field(default_factory=dict)
    nearest: dict[tuple[bytes, int], tuple[int, _Hypothesis]] = field(default_factory=dict)


class Follower:
    """Follows the episodes of an environment by its screens and actions.

    Args:
        settings: Emulator settings of the environment that is followed.
    """

    def __init__(self, settings: GameSettings) -> None:
        skip = settings.frame_skip
        self._skips = range(skip, skip + 1) if isinstance(skip, int) else range(*skip)
        self._repeat = settings.repeat_action_probability
        self._settings = settings
        self._emulator = _one_frame_emulator(settings)
        self._indices: Screen = np.zeros(self._emulator.screen_size, np.uint8)
        # Color of every palette index as 0xRRGGBB; ALE does not expose its palette, so screens tell it.
        self._palette = np.full(256, -1, np.int32)
        self._hypotheses: list[_Hypothesis] = []

    @property
    def screen_shape(self) -> tuple[int, int, int]:
        """Shape of the screens: (height, width, 3)."""
        return (*self._emulator.screen_size, 3)

    @property
    def n_actions(self) -> int:
        """Number of actions; an action is an index 0 <= a < n_actions."""
        return self._emulator.n_actions

    def reset(self, screen: Screen, reloaded: bool = True) -> RamEstimate:
        """Start an episode.

        Args:
            screen: Screen after the reset: uint8 of shape `screen_shape`, RGB.
            reloaded: Whether the environment loaded its ROM again, as Gymnasium's does when it is reset with a seed.
                Otherwise some games keep a part of their state.
        """
        observed = pack_colors(screen)
        if reloaded or not self._hypotheses:
            self._emulator = _one_frame_emulator(self._settings)
            self._emulator.reset()
            self._hypotheses = [self._hypothesis(0, 0.0)]
            return self._estimate(lost=self._distance(observed) > 0)
        survivors = _Survivors()
        for hypothesis in self._hypotheses:
            self._emulator.restore_snapshot(hypothesis.snapshot)
            self._emulator.reset()
            self._add(survivors, observed, 0, hypothesis.log_probability)
        return self._keep(survivors)

    def step(self, action: int, screen: Screen) -> RamEstimate:
        """Follow one step.

        Args:
            action: Index of the action that the environment was given.
            screen: Its screen after the step: uint8 of shape `screen_shape`, RGB.
        """
        observed = pack_colors(screen)
        survivors = _Survivors()
        for hypothesis in self._hypotheses:
            for executed, log_probability in self._successors(hypothesis, action):
                self._add(survivors, observed, executed, log_probability)
        return self._keep(survivors)

    def _add(self, survivors: _Survivors, observed: PackedScreen, action: int, log_probability: float) -> None:
        """Add the emulator's state, if its screen is the observed one or none is so far."""
        distance = self._distance(observed)
        if distance and survivors.matching:
            return
        hypothesis = self._hypothesis(action, log_probability)
        # Equal RAM does not make equal states: the positions of objects are in the video chip.
        key = (hypothesis.snapshot.serialized(), action)
        if distance == 0:
            if known := survivors.matching.get(key):
                total = float(np.logaddexp(known.log_probability, log_probability))
                hypothesis = known._replace(log_probability=total)
            survivors.matching[key] = hypothesis
        else:
            survivors.nearest.setdefault(key, (distance, hypothesis))

    def _hypothesis(self, action: int, log_probability: float) -> _Hypothesis:
        emulator = self._emulator
        return _Hypothesis(emulator.snapshot(include_rng=False), action, log_probability, emulator.ram.copy())

    def _keep(self, survivors: _Survivors) -> RamEstimate:
        found = sorted(survivors.matching.values(), key=lambda hypothesis: -hypothesis.log_probability)
        if not found:
            by_distance = sorted(survivors.nearest.values(), key=lambda entry: (entry[0], -entry[1].log_probability))
            found = [hypothesis for _, hypothesis in by_distance[:_MAX_LOST]]
        self._hypotheses = found[:MAX_HYPOTHESES]
        return self._estimate(lost=not survivors.matching)

    def _successors(self, hypothesis: _Hypothesis, action: int) -> Iterator[tuple[int, float]]:
        """Put the emulator into each state that may follow; yield the action it executed last and log probability."""
        emulator, previous = self._emulator, hypothesis.action
        log_probability = hypothesis.log_probability - math.log(len(self._skips))
        for frames in self._skips:
            emulator.restore_snapshot(hypothesis.snapshot)
            if action == previous or self._repeat == 0:
                self._run(action, frames)
                yield action, log_probability
                continue
            delayed = hypothesis.snapshot
            for delay in range(frames):
                self._run(action, frames - delay)
                repeats = delay * math.log(self._repeat) + math.log1p(-self._repeat) if self._repeat < 1 else -math.inf
                yield action, log_probability + repeats
                emulator.restore_snapshot(delayed)
                self._run(previous, 1)
                if delay < frames - 1:
                    delayed = emulator.snapshot(include_rng=False)
            yield previous, log_probability + frames * math.log(self._repeat)

    def _run(self, action: int, frames: int) -> None:
        for _ in range(frames):
            self._emulator.step(action)

    def _distance(self, observed: PackedScreen) -> int:
        """Return the number of pixels in which the emulator's screen differs from the observed one."""
        indices = self._emulator.screen_indices(self._indices)
        colors = self._palette.take(indices)
        if colors.min() < 0:
            self._palette[indices] = pack_colors(self._emulator.screen())
            colors = self._palette.take(indices)
        return int(np.count_nonzero(colors != observed))

    def _estimate(self, lost: bool) -> RamEstimate:
        best = self._hypotheses[0].ram
        if lost:
            return RamEstimate(best.copy(), np.zeros(RAM_SIZE, np.float32), True, len(self._hypotheses))
        log_probabilities = np.array([hypothesis.log_probability for hypothesis in self._hypotheses])
        weights = np.exp(log_probabilities - log_probabilities.max())
        weights /= weights.sum()
        agree = np.array([hypothesis.ram == best for hypothesis in self._hypotheses])
        confidence = (weights @ agree).astype(np.float32)
        return RamEstimate(best.copy(), confidence, False, len(self._hypotheses))


def _one_frame_emulator(settings: GameSettings) -> Emulator:
    """Return an emulator of one frame per step without sticky actions: the follower chooses each frame's action."""
    return Emulator(settings.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0}))
