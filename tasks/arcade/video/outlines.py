"""What a video outlines on the game's picture: where the bytes are seen that a decision depends on.

A video's mark declares them step by step, and they are drawn from that alone: by the same code when the video is made and
when it is proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.arcade.atlas.model import Atlas, Place
from tasks.arcade.drawing.canvas import GameView, Outline
from tasks.arcade.drawing.widgets import DECIDING
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator, Ram
from tasks.arcade.settings.base import Settings

_MOST = 3
"""At once: more of them hide the game."""
_STRENGTHS = 5
_WEAKEST = 2
"""What the decision depends on less than this is not worth a line over the picture."""

Outlined = tuple[Annotated[int, Field(ge=0, lt=RAM_SIZE)], Annotated[int, Field(ge=1, le=_STRENGTHS)]]
"""The number of a place, and how strongly it is outlined."""


class Outlines(Settings):
    """What is outlined in a video; where that is on the picture is told, frame by frame, by the RAM before the frame."""

    places: tuple[Place, ...] = Field(max_length=RAM_SIZE)
    steps: tuple[Annotated[tuple[Outlined, ...], Field(max_length=_MOST)], ...] = Field(
        description="one for each action of the trace"
    )


class OutlinedView:
    """The game's picture with outlines that follow what they are around.

    Args:
        view: the game's picture.
        places: what the numbers of outlined places stand for.
    """

    def __init__(self, view: GameView, places: Sequence[Place]) -> None:
        self._view, self._places = view, places
        self._outlined: Sequence[Outlined] = ()
        # An atlas tells of the RAM before a frame what is in the frame.
        self._ram: Ram = np.zeros(RAM_SIZE, np.uint8)

    def outline(self, outlined: Sequence[Outlined], ram: Ram) -> None:
        """From the next frame on outline these places, the strongest first; the RAM is the step's at its beginning."""
        self._outlined, self._ram[:] = outlined, ram

    def draw(self, emulator: Emulator) -> None:
        """Draw the last frame."""
        shown = [
            (self._places[number].at(self._ram, self._view.size), by / _STRENGTHS) for number, by in self._outlined
        ]
        self._view.outline([Outline(at.x, at.y, at.width, at.height, by) for at, by in shown if at], DECIDING)
        self._view.draw(emulator)
        if self._outlined:
            emulator.ram_now(self._ram)


class Outliner:
    """Outlines, step by step, what the bytes with the largest weights move or change.

    Args:
        view: the game's picture.
        atlas: of the game that is shown; none: nothing is outlined.
    """

    def __init__(self, view: GameView, atlas: Atlas | None) -> None:
        by_byte = atlas.places() if atlas else ()
        self._size, self._places = view.size, tuple(dict.fromkeys(filter(None, by_byte)))
        self._numbers = [None if place is None else self._places.index(place) for place in by_byte]
        self._steps: list[tuple[Outlined, ...]] | None = [] if atlas else None
        self._view = OutlinedView(view, self._places)

    def show(self, ram: Ram, weights: npt.NDArray[np.float64]) -> None:
        """Outline what one decision depends on, from the next frame on.

        Args:
            ram: that is decided on, uint8 of shape (128,).
            weights: how much the decision depends on each byte, 0 to 1.
        """
        if self._steps is None:
            return
        found: dict[int, int] = {}
        for byte in np.argsort(-weights, kind="stable").tolist():
            number, strength = self._numbers[byte], round(_STRENGTHS * float(weights[byte]))
            if strength < _WEAKEST or len(found) == _MOST:
                break
            if number is not None and number not in found and self._places[number].at(ram, self._size):
                found[number] = strength
        self._steps.append(tuple(found.items()))
        self._view.outline(self._steps[-1], ram)

    def draw(self, emulator: Emulator) -> None:
        """Draw the last frame."""
        self._view.draw(emulator)

    @property
    def outlines(self) -> Outlines | None:
        """All that was outlined so far; none without an atlas."""
        return None if self._steps is None else Outlines(places=self._places, steps=tuple(self._steps))
