"""What the bytes of a game's RAM do on its screen: the values that an atlas is made of.

poking.py finds out, charting.py judges. Pixels are the game's own, not a video's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from tasks.arcade.emulator.emulator import RAM_SIZE, Ram
from tasks.arcade.episodes.trace import Sha256
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, Settings, parsed
from tasks.arcade.settings.game import GameSettings

_LARGEST_FILE = 1024**2
"""Bytes; an atlas has about 30,000."""

Kind = Literal["x", "y", "x drive", "y drive", "score", "lives", "timer", "look", "screen", "none"]
KINDS: dict[Kind, str] = {
    "x": "where a thing is, from left to right",
    "y": "where a thing is, from top to bottom",
    "x drive": "moves a thing left and right without saying where it is: its speed, its steering",
    "y drive": "moves a thing up and down without saying where it is",
    "score": "the score: changes when there is a reward, or what the score's display shows",
    "lives": "the lives: changes when one is lost",
    "timer": "changes by itself, evenly: a clock, a counter of frames",
    "look": "how something looks that stays where it is",
    "screen": "a quarter of the picture or more changes at once",
    "none": "nothing on the screen",
}
"""Every kind of byte, in words."""

How = Literal["moves", "shows", "follows", "nothing"]


class AtlasError(RamreelError, ValueError):
    """What was read is no atlas; the message says why."""


_WIDEST = 4096
"""Pixels; no console's picture has as many. What a stranger's file says of places stays within what can be drawn."""
_LARGE = 0.25
"""Share of the picture from which on to say where on it is to say nothing."""
_FARTHEST = 512 * _WIDEST
"""Pixels; beyond it no byte brings anything back."""


class Region(Settings):
    """A rectangle of the game's picture, in its pixels."""

    x: int = Field(ge=0, le=_WIDEST)
    y: int = Field(ge=0, le=_WIDEST)
    width: int = Field(ge=1, le=_WIDEST)
    height: int = Field(ge=1, le=_WIDEST)


class Axis(Settings):
    """Where the middle of a thing is, on one axis: `scale * ram[byte] + offset` pixels."""

    byte: int | None = Field(ge=0, lt=RAM_SIZE, description="none: the thing stays at `offset`, or no byte tells")
    scale: float = Field(ge=-_WIDEST, le=_WIDEST, description="pixels for one more in the byte")
    offset: float = Field(ge=-_FARTHEST, le=_FARTHEST, description="pixels")
    extent: int = Field(
        ge=1, le=_WIDEST, description="pixels that the thing takes up; without a byte, that it is met in"
    )


class Place(Settings):
    """Where something is on the screen, by the RAM."""

    x: Axis
    y: Axis

    def at(self, ram: Ram, size: tuple[int, int]) -> Region | None:
        """Where it is while the RAM, uint8 of shape (128,), is this; none: off a picture of (height, width)."""
        height, width = size
        left, right = _span(self.x, ram, width)
        top, lower = _span(self.y, ram, height)
        if left >= right or top >= lower:
            return None
        return Region(x=left, y=top, width=right - left, height=lower - top)


class Thing(Place):
    """Something on the screen that bytes move."""

    name: str = Field(pattern=r"^[A-Z]+$")
    reach: Region = Field(description="all of the picture in which it was met")


def _span(axis: Axis, ram: Ram, limit: int) -> tuple[int, int]:
    middle = axis.offset if axis.byte is None else axis.scale * int(ram[axis.byte]) + axis.offset
    begin = round(middle - axis.extent / 2)
    return max(0, begin), min(limit, begin + axis.extent)


class Entry(Settings):
    """What one byte does."""

    byte: int = Field(ge=0, lt=RAM_SIZE)
    kind: Kind
    how: How = Field(
        description="moves or shows: the picture changes when the byte alone is changed; follows: it does not, since "
        "the game writes the byte anew before it draws, but in play the byte goes with what is seen or scored"
    )
    sure: float = Field(ge=0, le=1, description="share of the states, or of the changes in play, that speak for it")
    visible: float = Field(ge=0, le=1, description="share of the states in which changing the byte was seen at all")
    region: Region | None = Field(description="where on the screen; none: nowhere")
    thing: str | None = Field(default=None, description="name of the thing that it moves or follows")


class Atlas(Settings):
    """What every byte of a game's RAM does on its screen."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    game: GameSettings = Field(description="as its pictures were made: without sticky actions, frame by frame")
    ale_py: str
    rom_sha256: Sha256
    seed: int
    player: str = Field(description="who played: random, or the digest of a checkpoint")
    steps: int = Field(ge=1, description="steps of play that were looked at")
    states: int = Field(ge=1, description="states of that play in which bytes were changed")
    pokes: int = Field(ge=0, description="changes of a byte, each drawn and compared")
    unsteady: int = Field(ge=0, description="states left out: drawn twice, they did not give the same picture")
    size: tuple[int, int] = Field(description="(height, width) of the picture")
    entries: tuple[Entry, ...] = Field(min_length=RAM_SIZE, max_length=RAM_SIZE, description="one a byte, in order")
    things: tuple[Thing, ...]

    def places(self) -> tuple[Place | None, ...]:
        """For each byte where on the screen its thing is, or what it changes; none: nowhere, or nearly all over it."""
        things = {thing.name: Place(x=thing.x, y=thing.y) for thing in self.things}
        return tuple(things.get(entry.thing or "") or _still(entry, self.size) for entry in self.entries)


def _still(entry: Entry, size: tuple[int, int]) -> Place | None:
    height, width = size
    region = entry.region
    if region is None or region.width * region.height >= _LARGE * height * width:
        return None
    return Place(x=_from(region.x, region.width), y=_from(region.y, region.height))


def _from(begin: int, extent: int) -> Axis:
    return Axis(byte=None, scale=0, offset=begin + extent / 2, extent=extent)


def read_atlas(path: Path) -> Atlas:
    """Read an atlas from the JSON that `Atlas.model_dump_json` gives.

    Raises:
        AtlasError: no such file, not an atlas, or one of a newer schema.
    """
    if not path.is_file():
        raise AtlasError(f"there is no atlas {path}")
    if path.stat().st_size > _LARGEST_FILE:
        raise AtlasError(f"{path} is no atlas: it is larger than {_LARGEST_FILE // 1024} KiB")
    try:
        return parsed(Atlas, path.read_bytes())
    except NewerSchemaError as error:
        raise AtlasError(f"{path} has {error}") from None
    except ValueError as error:
        raise AtlasError(f"{path} is no atlas: {error}") from None
