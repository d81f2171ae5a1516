"""What compares an emulator's screen with an observed picture."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tasks.arcade.emulator.emulator import Emulator


class Comparison(NamedTuple):
    """A picture of the emulator compared with the observed one.

    Attributes:
        matches: Whether the state may have shown the observed picture.
        distance: Orders the states if none matches.
        log_likelihood: Of the observed picture, up to a constant; 0 where pictures are equal or not.
    """

    matches: bool
    distance: float
    log_likelihood: float = 0.0


class PictureMatcher(Protocol):
    """Holds the observed picture."""

    def compare(self, emulator: Emulator) -> Comparison:
        """Compare the emulator's screen with the observed picture."""
        ...
