"""The RAM that the player of a trace observed: the emulator's, or what was read from its screens."""

from __future__ import annotations

from collections.abc import Callable

from tasks.arcade.emulator.emulator import Emulator, Ram, Screen
from tasks.arcade.episodes.playing import Step, extend_digest
from tasks.arcade.episodes.trace import SHORT_DIGEST, Trace, TraceError

ReadRam = Callable[[int | None, Screen], Ram]
"""Reads RAM, uint8 of shape (128,), from a screen; called at the reset with None, then after every step with its
action."""


class ObservationError(TraceError):
    """What is read from a screen differs from what the player of a trace observed."""


class ObservedRam:
    """Observes the steps of one trace as its player did: call it once per step, in order.

    Args:
        emulator: Emulator that replays the trace.
        read_ram: Reads RAM from screens as `trace.from_pixels` says; None if the player observed the emulator's RAM.
    """

    def __init__(self, emulator: Emulator, read_ram: ReadRam | None) -> None:
        self._emulator, self._read, self._chain = emulator, read_ram, b""

    def __call__(self, step: Step, trace: Trace) -> Ram:
        """Return the RAM that was observed after a step.

        Raises:
            ObservationError: It differs from the trace, by the digests in it.
            TraceError: The trace was played from pixels and nothing reads them, or the reverse.
        """
        if (trace.from_pixels is None) != (self._read is None):
            raise TraceError(f"the trace was {'' if trace.from_pixels else 'not '}played from pixels")
        if trace.from_pixels is None or self._read is None:
            return step.ram
        ram = self._read(trace.actions[step.number - 1] if step.number else None, self._emulator.screen())
        self._chain = extend_digest(self._chain, ram)
        if self._chain.hex()[:SHORT_DIGEST] != trace.from_pixels.digests[step.number]:
            raise ObservationError(f"the RAM read from the screen of step {step.number} differs from the trace")
        return ram
