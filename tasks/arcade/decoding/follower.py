"""An emulator that follows the pictures of another one: exact RAM from screens and actions alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.picture_features import pack_colors
from tasks.arcade.decoding.picture_matcher import Comparison
from tasks.arcade.decoding.screen_colors import ScreenColors
from tasks.arcade.decoding.state_search import StateSearch
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator, Ram, Screen
from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError
from tasks.arcade.settings.game import GameSettings

Confidence = npt.NDArray[np.float32]

_MAX_OTHER = 0.5
"""Share of the first screen in colors that the start of the game does not have, from which on it is not of this game or
not in its palette; a damaged picture only loses the thread."""


@dataclass(frozen=True)
class RamEstimate:
    """RAM behind a screen.

    Attributes:
        ram: uint8 of shape (128,): the likeliest one.
        confidence: Probability of each byte, float32 of shape (128,), given all states that show the observed screens;
            0 while lost.
        lost: Whether no state shows the observed screen; `ram` is then that of the state with the nearest screen.
        n_hypotheses: Number of states that are kept.
        probability: Probability that all 128 bytes are right, given all observed screens and actions: no other RAM has
            a higher one. 0 while lost, and of decoded RAM.
    """

    ram: Ram
    confidence: Confidence
    lost: bool
    n_hypotheses: int
    probability: float = 0.0


class Follower:
    """Follows the episodes of an environment by its screens and actions.

    Args:
        settings: Emulator settings of the environment that is followed.
    """

    def __init__(self, settings: GameSettings) -> None:
        self._env_id, self._matcher = settings.env_id, _ExactMatcher()
        self._search = StateSearch(settings, self._matcher)

    @property
    def screen_shape(self) -> tuple[int, int, int]:
        """Shape of the screens: (height, width, 3)."""
        return (*self._search.emulator.screen_size, 3)

    @property
    def n_actions(self) -> int:
        """Number of actions; an action is an index 0 <= a < n_actions."""
        return self._search.emulator.n_actions

    def reset(self, screen: Screen, reloaded: bool = True) -> RamEstimate:
        """Start an episode.

        Args:
            screen: Screen after the reset: uint8 of shape `screen_shape`, RGB.
            reloaded: Whether the environment loaded its ROM again, as Gymnasium's does when it is reset with a seed.
                Otherwise some games keep a part of their state.

        Raises:
            UnknownEnvironmentError: The screen has other colors than the start of the game.
        """
        self._matcher.observe(screen)
        if reloaded or not self._search.hypotheses:
            found = self._search.start()
            if self._matcher.share_of_other_colors(self._search.emulator) > _MAX_OTHER:
                raise UnknownEnvironmentError(
                    f"the picture has other colors than the start of {self._env_id}. Wrap an environment of this game "
                    "and its palette, before any wrapper that changes its pictures"
                )
            return self._estimate(found)
        return self._estimate(self._search.restart())

    def step(self, action: int, screen: Screen) -> RamEstimate:
        """Follow one step.

        Args:
            action: Index of the action that the environment was given.
            screen: Its screen after the step: uint8 of shape `screen_shape`, RGB.
        """
        self._matcher.observe(screen)
        return self._estimate(self._search.advance((action,)))

    def _estimate(self, found: bool) -> RamEstimate:
        hypotheses = self._search.hypotheses
        if not found:
            nearest = hypotheses[0].moment.ram
            return RamEstimate(nearest.copy(), np.zeros(RAM_SIZE, np.float32), True, len(hypotheses))
        weights = np.exp([hypothesis.log_probability for hypothesis in hypotheses])
        weights /= weights.sum()
        # States that differ in the video chip or in their last action only have the same RAM.
        probabilities: dict[bytes, float] = {}
        for hypothesis, weight in zip(hypotheses, weights, strict=True):
            key = hypothesis.moment.ram.tobytes()
            probabilities[key] = probabilities.get(key, 0.0) + float(weight)
        likeliest = max(probabilities, key=probabilities.__getitem__)
        best = np.frombuffer(likeliest, np.uint8).copy()
        agree = np.array([hypothesis.moment.ram == best for hypothesis in hypotheses])
        confidence = (weights @ agree).astype(np.float32)
        return RamEstimate(best, confidence, False, len(hypotheses), min(1.0, probabilities[likeliest]))


class _ExactMatcher:
    """Matches states whose screen is equal to the observed one."""

    def __init__(self) -> None:
        self._colors = ScreenColors()

    def observe(self, screen: Screen) -> None:
        self._observed = pack_colors(screen)

    def compare(self, emulator: Emulator) -> Comparison:
        distance = int(np.count_nonzero(self._colors.packed(emulator) != self._observed))
        return Comparison(distance == 0, distance)

    def share_of_other_colors(self, emulator: Emulator) -> float:
        """Return the share of the observed screen whose colors the emulator's screen does not have."""
        return float(np.mean(~np.isin(self._observed, self._colors.packed(emulator))))
