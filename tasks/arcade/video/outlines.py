"""Outlines over the game's screen, around what is driven by the bytes that a decision depends on.

A video's embedded trace lists them step by step, and they are drawn from that list alone, by the same code when a video
is rendered and when it is verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.arcade.atlas.atlas import Atlas, ScreenPosition
from tasks.arcade.drawing.game_view import GameView, Outline
from tasks.arcade.drawing.widgets import SALIENT
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator, Ram
from tasks.arcade.settings.base import Settings

_MAX_OUTLINES = 3
"""Outlines per step: more of them hide the game."""
_STRENGTHS = 5
_MIN_STRENGTH = 2
"""A weaker dependence is not outlined."""

OutlinedPlace = tuple[Annotated[int, Field(ge=0, lt=RAM_SIZE)], Annotated[int, Field(ge=1, le=_STRENGTHS)]]
"""Index of a place, and the strength of its outline."""


class Outlines(Settings):
    """Outlines of a video; their positions in a frame follow from the RAM before that frame."""

    places: tuple[ScreenPosition, ...] = Field(max_length=RAM_SIZE)
    steps: tuple[Annotated[tuple[OutlinedPlace, ...], Field(max_length=_MAX_OUTLINES)], ...] = Field(
        description="Outlined places for each action of the trace"
    )


class OutlinedView:
    """Draws the game's screen with outlines that follow the objects they surround.

    Args:
        view: View of the game's screen.
        places: Places that outlines refer to by index.
    """

    def __init__(self, view: GameView, places: Sequence[ScreenPosition]) -> None:
        self._view, self._places = view, places
        self._outlined: Sequence[OutlinedPlace] = ()
        # An atlas maps the RAM before a frame to positions in the frame.
        self._ram: Ram = np.zeros(RAM_SIZE, np.uint8)

    def outline(self, outlined: Sequence[OutlinedPlace], ram: Ram) -> None:
        """Replace the outlines from the next frame on.

        Args:
            outlined: Outlined places, the strongest first.
            ram: RAM at the beginning of the step.
        """
        self._outlined, self._ram[:] = outlined, ram

    def draw(self, emulator: Emulator) -> None:
        """Draw the current screen."""
        regions = [
            (self._places[index].at(self._ram, self._view.size), strength / _STRENGTHS)
            for index, strength in self._outlined
        ]
        outlines = [Outline(at.x, at.y, at.width, at.height, strength) for at, strength in regions if at]
        self._view.outline(outlines, SALIENT)
        self._view.draw(emulator)
        if self._outlined:
            emulator.read_ram(self._ram)


class Outliner:
    """Outlines, step by step, what the most salient bytes move or change on the screen.

    Args:
        view: View of the game's screen.
        atlas: Atlas of the game (default: no outlines).
    """

    def __init__(self, view: GameView, atlas: Atlas | None) -> None:
        place_of_byte = atlas.positions() if atlas else ()
        self._size, self._places = view.size, tuple(dict.fromkeys(filter(None, place_of_byte)))
        self._indices = [None if place is None else self._places.index(place) for place in place_of_byte]
        self._steps: list[tuple[OutlinedPlace, ...]] | None = [] if atlas else None
        self._view = OutlinedView(view, self._places)

    def update(self, ram: Ram, saliency: npt.NDArray[np.float64]) -> None:
        """Outline what a decision depends on, from the next frame on.

        Args:
            ram: Observed RAM, uint8 of shape (128,).
            saliency: How much the decision depends on each byte, 0 to 1.
        """
        if self._steps is None:
            return
        outlined: dict[int, int] = {}
        for byte in np.argsort(-saliency, kind="stable").tolist():
            index, strength = self._indices[byte], round(_STRENGTHS * float(saliency[byte]))
            if strength < _MIN_STRENGTH or len(outlined) == _MAX_OUTLINES:
                break
            if index is not None and index not in outlined and self._places[index].at(ram, self._size):
                outlined[index] = strength
        self._steps.append(tuple(outlined.items()))
        self._view.outline(self._steps[-1], ram)

    def draw(self, emulator: Emulator) -> None:
        """Draw the current screen."""
        self._view.draw(emulator)

    @property
    def outlines(self) -> Outlines | None:
        """Outlines drawn so far; None without an atlas."""
        return None if self._steps is None else Outlines(places=self._places, steps=tuple(self._steps))
