"""Frames of an emulator, each of them emulated once.

An action has the same effect in equal states. The ways to a state often differ in actions that had no effect, such as
those of the frames in which a game does not read the joystick, or those against a wall.
"""

from __future__ import annotations

from tasks.arcade.decoding.picture_matcher import Comparison, PictureMatcher
from tasks.arcade.emulator.emulator import Emulator, Ram, Snapshot

_MAX_STATES = 8192
"""States that are remembered at the same time, of 15 kB each; beyond them frames are emulated again."""


class State:
    """A state of an emulator.

    Attributes:
        snapshot: Without the random generator.
        serialized: Its serialization: equal RAM does not make equal states, as positions of objects are in the video
            chip.
        ram: uint8 of shape (128,).
    """

    __slots__ = ("ram", "serialized", "snapshot")

    def __init__(self, snapshot: Snapshot, serialized: bytes, ram: Ram) -> None:
        self.snapshot, self.serialized, self.ram = snapshot, serialized, ram


class Transition:
    """One frame of an action.

    Attributes:
        before: State before the frame.
        action: Index of the action.
        state: State after the frame; None if nobody has asked for it.
        comparison: Of the frame's picture, which the state alone does not determine; None if nobody has asked for it.
    """

    __slots__ = ("action", "before", "comparison", "state")

    def __init__(self, before: State, action: int) -> None:
        self.before, self.action = before, action
        self.state: State | None = None
        self.comparison: Comparison | None = None


class Transitions:
    """Emulates frames when something is asked about them, and remembers the answers.

    Args:
        emulator: One frame per step and no sticky actions. Its state is undefined after each call.
        matcher: Compares screens with the observed picture.
    """

    def __init__(self, emulator: Emulator, matcher: PictureMatcher) -> None:
        self._emulator, self._matcher = emulator, matcher
        self.forget()

    def forget(self) -> None:
        """Forget all frames; necessary when the observed picture has changed or the emulator was used otherwise."""
        self._states: dict[bytes, State] = {}
        self._known: dict[tuple[State, int], Transition] = {}
        self._current: State | None = None
        self._shown: Transition | None = None

    def current(self) -> State:
        """Return the emulator's state; the same object for equal states."""
        snapshot = self._emulator.snapshot(include_rng=False)
        serialized = snapshot.serialized()
        state = self._states.get(serialized)
        if state is None:
            if len(self._states) >= _MAX_STATES:
                self.forget()
            state = self._states[serialized] = State(snapshot, serialized, self._emulator.ram.copy())
        self._current = state
        return state

    def after(self, state: State, action: int) -> Transition:
        """Return the transition of an action in a state."""
        key = (state, action)
        transition = self._known.get(key)
        if transition is None:
            transition = self._known[key] = Transition(state, action)
        return transition

    def state(self, transition: Transition) -> State:
        """Return the state after a transition."""
        if transition.state is None:
            self._emulate(transition)
            transition.state = self.current()
        return transition.state

    def compare(self, transition: Transition) -> Comparison:
        """Compare the picture of a transition with the observed one."""
        if transition.comparison is None:
            self._emulate(transition)
            transition.comparison = self._matcher.compare(self._emulator)
        return transition.comparison

    def _emulate(self, transition: Transition) -> None:
        if self._shown is transition:
            return
        if self._current is not transition.before:
            self._emulator.restore_snapshot(transition.before.snapshot)
        self._emulator.step(transition.action)
        self._current, self._shown = None, transition
