"""Search for the states of an emulator that show the pictures of another one.

A second emulator starts where every episode of the game starts. At every step it executes each action that may have
been given, with every number of frames for which sticky actions may have delayed it, and keeps the states that show the
observed picture. The state of the environment that is followed is never read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tasks.arcade.decoding.picture_matcher import Comparison, PictureMatcher
from tasks.arcade.decoding.transitions import State, Transition, Transitions
from tasks.arcade.emulator.emulator import Emulator, Ram
from tasks.arcade.settings.game import GameSettings

MAX_HYPOTHESES = 64
"""States kept per step, the likeliest first; with known actions Pong and Breakout have two or three at a time."""
_MAX_UNSEEN = 512
"""States kept after a step without a picture, which excludes none."""
_MAX_LOST = 16
"""States kept while none shows the observed picture: the nearest ones."""
_UNSEEN = Comparison(True, 0.0)
"""Of every state after a step without a picture."""
_MARGIN = 25.0
"""States that are less likely than the likeliest one by this factor, as a logarithm, are dropped."""


class Moment:
    """A state after a step, in the history of those that led to it.

    Attributes:
        ram: uint8 of shape (128,).
        action: Action that was executed last, which a sticky action repeats; 0 without sticky actions.
        arrivals: All ways that lead here from the moments of the step before; empty at the start, or without a history.
    """

    __slots__ = ("action", "arrivals", "ram")

    def __init__(self, ram: Ram, action: int) -> None:
        self.ram, self.action = ram, action
        self.arrivals: list[Arrival] = []


class Arrival(NamedTuple):
    """One way from a moment to one of the next step: its last action for some frames, and then another one.

    Attributes:
        origin: The moment before.
        action: Action that was executed at the step's last frame.
        delay: Frames for which the last action of `origin` was repeated; the others executed `action`.
        frames: Frames of the step.
        log_probability: Of the way from the start up to here, without the picture that is seen here.
    """

    origin: Moment
    action: int
    delay: int
    frames: int
    log_probability: float


class Hypothesis(NamedTuple):
    """A state that shows the pictures observed so far.

    Attributes:
        state: The emulator's state.
        log_probability: Log probability of all ways that lead here, up to a constant.
        moment: RAM, last action and history.
    """

    state: State
    log_probability: float
    moment: Moment


class _Successor(NamedTuple):
    """A state after a step.

    Attributes:
        action: Action to remember, which a sticky action repeats; 0 without sticky actions.
        transition: The last frame.
        arrivals: The ways that lead there.
    """

    action: int
    transition: Transition
    arrivals: list[Arrival]


_Key = tuple[bytes, int]


@dataclass
class _Survivors:
    """States after a step, by serialized state and last action.

    Attributes:
        matching: Those that match the observed picture.
        nearest: The others, with their distance; not collected once there is a match.
        best: Log probability of the likeliest match.
    """

    matching: dict[_Key, Hypothesis] = field(default_factory=dict)
    nearest: dict[_Key, tuple[float, Hypothesis]] = field(default_factory=dict)
    best: float = -math.inf

    def accepts(self, comparison: Comparison, log_probability: float) -> bool:
        """Return whether a state is among the likeliest that match, or none matches so far."""
        matches = comparison.matches or not self.matching
        return matches and log_probability >= self.best - _MARGIN


class StateSearch:
    """Keeps the states of an emulator that show the observed pictures.

    Args:
        settings: Emulator settings of the environment that is followed.
        matcher: Compares screens with the observed picture, which is changed before each call.
        keeps_history: Whether moments have arrivals.

    Attributes:
        emulator: One frame per step and no sticky actions: the search chooses each frame's action.
        hypotheses: The states, the likeliest first.
    """

    def __init__(self, settings: GameSettings, matcher: PictureMatcher, *, keeps_history: bool = False) -> None:
        skip = settings.frame_skip
        self._skips = range(skip, skip + 1) if isinstance(skip, int) else range(*skip)
        self._repeat = settings.repeat_action_probability
        self._settings = settings.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0})
        self._matcher, self._keeps_history = matcher, keeps_history
        self.emulator = Emulator(self._settings)
        self._transitions = Transitions(self.emulator, matcher)
        self.hypotheses: list[Hypothesis] = []

    def start(self) -> bool:
        """Start at the game's start, as after a reset that loads the ROM; return whether the picture matches."""
        self.emulator = Emulator(self._settings)
        self.emulator.reset()
        self._transitions = Transitions(self.emulator, self._matcher)
        state = self._transitions.current()
        self.hypotheses = [Hypothesis(state, 0.0, Moment(state.ram, 0))]
        return self._matcher.compare(self.emulator).matches

    def restart(self) -> bool:
        """Reset every state without loading the ROM, which keeps a part of the state in some games."""
        survivors = _Survivors()
        for hypothesis in self.hypotheses:
            self.emulator.restore_snapshot(hypothesis.state.snapshot)
            self.emulator.reset()
            comparison, total = self._matcher.compare(self.emulator), hypothesis.log_probability
            if survivors.accepts(comparison, total):
                self._add(survivors, (self._transitions.current(), 0), comparison, total, [])
        return self._keep(survivors, MAX_HYPOTHESES)

    def advance(self, actions: Sequence[int], *, seen: bool = True) -> bool:
        """Follow one step; return whether a state matches the observed picture.

        Args:
            actions: Indices of the actions that may have been given, each as probable as the others.
            seen: Whether there is a picture after this step; without one all states match.
        """
        self._transitions.forget()
        survivors = _Survivors()
        for action, transition, arrivals in self._successors(actions):
            total = arrivals[0].log_probability
            for arrival in arrivals[1:]:
                total = float(np.logaddexp(total, arrival.log_probability))
            comparison = self._transitions.compare(transition) if seen else _UNSEEN
            total += comparison.log_likelihood
            if survivors.accepts(comparison, total):
                self._add(survivors, (self._transitions.state(transition), action), comparison, total, arrivals)
        return self._keep(survivors, MAX_HYPOTHESES if seen else _MAX_UNSEEN)

    def _add(
        self,
        survivors: _Survivors,
        found: tuple[State, int],
        comparison: Comparison,
        log_probability: float,
        arrivals: list[Arrival],
    ) -> None:
        state, action = found
        key = (state.serialized, action)
        known = survivors.matching.get(key)
        if known is None:
            hypothesis = Hypothesis(state, log_probability, Moment(state.ram, action))
        else:
            total = float(np.logaddexp(known.log_probability, log_probability))
            hypothesis = known._replace(log_probability=total)
        if self._keeps_history:
            hypothesis.moment.arrivals.extend(arrivals)
        if comparison.matches:
            survivors.matching[key] = hypothesis
            survivors.best = max(survivors.best, hypothesis.log_probability)
        else:
            survivors.nearest.setdefault(key, (comparison.distance, hypothesis))

    def _keep(self, survivors: _Survivors, limit: int) -> bool:
        found = sorted(survivors.matching.values(), key=lambda hypothesis: -hypothesis.log_probability)
        if not found:
            by_distance = sorted(survivors.nearest.values(), key=lambda entry: (entry[0], -entry[1].log_probability))
            found = [hypothesis for _, hypothesis in by_distance[:_MAX_LOST]]
        best = max(hypothesis.log_probability for hypothesis in found)
        self.hypotheses = [
            hypothesis._replace(log_probability=hypothesis.log_probability - best)
            for hypothesis in found[:limit]
            if hypothesis.log_probability >= best - _MARGIN or not survivors.matching
        ]
        return bool(survivors.matching)

    def _successors(self, actions: Sequence[int]) -> Iterator[_Successor]:
        """Yield each state that may follow, with the ways that lead there.

        Equal states that differ in their last action share the frames that the new action is executed for.
        """
        for frames in self._skips:
            nodes = _group((hypothesis.state, hypothesis) for hypothesis in self.hypotheses)
            for delay in range(frames):
                for state, origins in nodes:
                    yield from self._execute(state, origins, actions, delay, frames)
                if self._repeat == 0 or not nodes:
                    break
                if delay < frames - 1:
                    nodes = _group(self._repeated(nodes, actions))
            else:
                for state, origins in nodes:
                    yield from self._repeat_throughout(state, origins, actions, frames)

    def _execute(
        self, state: State, origins: list[Hypothesis], actions: Sequence[int], delay: int, frames: int
    ) -> Iterator[_Successor]:
        """Execute each action after a delay, where it is not the one that the delay repeated."""
        for action in actions:
            arrivals = self._arrivals(origins, action, actions, delay, frames)
            if not arrivals:
                continue
            before = state
            for _ in range(frames - delay - 1):
                before = self._transitions.state(self._transitions.after(before, action))
            yield _Successor(action if self._repeat else 0, self._transitions.after(before, action), arrivals)

    def _repeated(
        self, nodes: list[tuple[State, list[Hypothesis]]], actions: Sequence[int]
    ) -> Iterator[tuple[State, Hypothesis]]:
        """Yield each state after one more frame of the repeated action, with the hypothesis it began with."""
        for state, origins in nodes:
            for action in {origin.moment.action for origin in origins}:
                if (action,) == tuple(actions):
                    continue
                delayed = self._transitions.state(self._transitions.after(state, action))
                yield from ((delayed, origin) for origin in origins if origin.moment.action == action)

    def _repeat_throughout(
        self, state: State, origins: list[Hypothesis], actions: Sequence[int], frames: int
    ) -> Iterator[_Successor]:
        """Execute the last frame of a delay for the whole step, of actions that may not have been given again."""
        for action in {origin.moment.action for origin in origins}.difference(actions):
            repeating = [origin for origin in origins if origin.moment.action == action]
            arrivals = self._arrivals(repeating, action, actions, frames, frames)
            yield _Successor(action, self._transitions.after(state, action), arrivals)

    def _arrivals(
        self, origins: list[Hypothesis], action: int, actions: Sequence[int], delay: int, frames: int
    ) -> list[Arrival]:
        """Return the ways on which `action` is executed after a delay, with their probabilities."""
        repeat, share = self._repeat, 1 / (len(self._skips) * len(actions))
        arrivals = []
        for origin in origins:
            previous = origin.moment.action
            if action != previous:
                probability = share * repeat**delay * (1 - repeat)
            elif delay == 0:
                # The previous action all the time: it was given again, or another one was delayed for all frames.
                probability = share * (1 + (len(actions) - 1) * repeat**frames)
            elif delay == frames and previous not in actions:
                probability = share * len(actions) * repeat**frames
            else:
                continue
            if probability > 0:
                log_probability = origin.log_probability + math.log(probability)
                arrivals.append(Arrival(origin.moment, action, delay, frames, log_probability))
        return arrivals


def _group(states: Iterator[tuple[State, Hypothesis]]) -> list[tuple[State, list[Hypothesis]]]:
    """Return distinct states, each with the hypotheses that it began with."""
    nodes: dict[bytes, tuple[State, list[Hypothesis]]] = {}
    for state, origin in states:
        nodes.setdefault(state.serialized, (state, []))[1].append(origin)
    return list(nodes.values())
