"""What a film outlines on the game's picture: where the bytes are seen that a decision depends on.

A film's mark declares them step by step, and they are drawn from that alone: by the same code when the film is made and
when it is proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from tasks.arcade.atlas import Atlas, Place
from tasks.arcade.canvas import GameView, Outline
from tasks.arcade.game import RAM_SIZE, Ram
from tasks.arcade.panel_parts import DECIDING
from tasks.arcade.settings import Settings

_MOST = 3
"""At once: more of them hide the game."""
_STRENGTHS = 5
_WEAKEST = 2
"""What the decision depends on less than this is not worth a line over the picture."""

Outlined = tuple[Annotated[int, Field(ge=0, lt=RAM_SIZE)], Annotated[int, Field(ge=1, le=_STRENGTHS)]]
"""The number of a place, and how strongly it is outlined."""


class Outlines(Settings):
    """What is outlined in a film; where that is on the picture is told by the RAM at the step's beginning."""

    places: tuple[Place, ...] = Field(max_length=RAM_SIZE)
    steps: tuple[Annotated[tuple[Outlined, ...], Field(max_length=_MOST)], ...] = Field(
        description="one for each action of the trace"
    )


def draw_outlines(view: GameView, places: Sequence[Place], outlined: Sequence[Outlined], ram: Ram) -> None:
    """Outline places on the game's picture from the next frame on.

    Args:
        view: the game's picture.
        places: what the numbers stand for.
        outlined: of these which, the strongest first.
        ram: at the step's beginning, uint8 of shape (128,).
    """
    shown = [(places[number].at(ram, view.size), strength / _STRENGTHS) for number, strength in outlined]
    view.outline([Outline(at.x, at.y, at.width, at.height, by) for at, by in shown if at is not None], DECIDING)


class Outliner:
    """Outlines, step by step, what the bytes with the largest weights move or change.

    Args:
        atlas: of the game that is shown.
    """

    def __init__(self, atlas: Atlas) -> None:
        by_byte = atlas.places()
        self._places = tuple(dict.fromkeys(filter(None, by_byte)))
        self._numbers = [None if place is None else self._places.index(place) for place in by_byte]
        self._steps: list[tuple[Outlined, ...]] = []

    def show(self, view: GameView, ram: Ram, weights: npt.NDArray[np.float64]) -> None:
        """Outline what one decision depends on.

        Args:
            view: the game's picture.
            ram: that is decided on, uint8 of shape (128,).
            weights: how much the decision depends on each byte, 0 to 1.
        """
        found: dict[int, int] = {}
        for byte in np.argsort(-weights, kind="stable").tolist():
            number, strength = self._numbers[byte], round(_STRENGTHS * float(weights[byte]))
            if strength < _WEAKEST or len(found) == _MOST:
                break
            if number is not None and number not in found and self._places[number].at(ram, view.size):
                found[number] = strength
        outlined = tuple(found.items())
        self._steps.append(outlined)
        draw_outlines(view, self._places, outlined, ram)

    @property
    def outlines(self) -> Outlines:
        """All that was outlined so far."""
        return Outlines(places=self._places, steps=tuple(self._steps))
