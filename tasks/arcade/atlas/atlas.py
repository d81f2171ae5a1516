"""Values of an atlas: what each byte of a game's RAM does on its screen.

perturb.py measures, build.py assembles. Pixel coordinates are those of the game's screen, not of a video.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from tasks.arcade.emulator.emulator import RAM_SIZE, Ram
from tasks.arcade.episodes.trace import Sha256
from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.base import SCHEMA, NewerSchemaError, Settings, parse_json
from tasks.arcade.settings.game import GameSettings

_LARGEST_FILE = 1024**2
"""Maximum bytes; an atlas has about 30,000."""

Kind = Literal["x", "y", "x motion", "y motion", "score", "lives", "timer", "appearance", "screen", "none"]
KINDS: dict[Kind, str] = {
    "x": "horizontal position of an object",
    "y": "vertical position of an object",
    "x motion": "moves an object horizontally without encoding its position, e.g. its velocity",
    "y motion": "moves an object vertically without encoding its position, e.g. its velocity",
    "score": "score: changes with rewards, or is drawn in the score display",
    "lives": "lives: changes when a life is lost",
    "timer": "changes at regular intervals, e.g. a clock or a frame counter",
    "appearance": "appearance of something that does not move",
    "screen": "affects at least a quarter of the screen",
    "none": "no effect on the screen",
}
"""Description of every kind of byte."""

Encoding = Literal["constant", "bits", "states", "counter", "number", "other"]
ENCODINGS: dict[Encoding, str] = {
    "constant": "never changes",
    "bits": "bit mask: nearly every change flips one bit, and several bits change, e.g. rows of invaders or pellets",
    "states": "at most eight values, e.g. a direction, a mode, or the color of a field",
    "counter": "nearly every change adds the same number",
    "number": "mostly changes by small amounts, as positions and velocities do",
    "other": "changes in none of these ways, e.g. a random generator, or a pointer to a shape",
}
"""Description of every encoding."""

Relation = Literal["moves", "shows", "follows", "nothing"]


class AtlasError(RamreelError, ValueError):
    """A file is not an atlas that can be read."""


_MAX_COORDINATE = 4096
"""Pixels, more than any console's screen has: bounds the positions in an untrusted file to what can be drawn."""
_MAX_REGION_SHARE = 0.25
"""Share of the screen from which on a region does not locate anything."""
_MAX_OFFSET = 512 * _MAX_COORDINATE
"""Pixels; beyond it no value of a byte leads back onto the screen."""


class Region(Settings):
    """A rectangle of the screen in pixels."""

    x: int = Field(ge=0, le=_MAX_COORDINATE)
    y: int = Field(ge=0, le=_MAX_COORDINATE)
    width: int = Field(ge=1, le=_MAX_COORDINATE)
    height: int = Field(ge=1, le=_MAX_COORDINATE)


ENOUGH_STATES = 32
"""States from which the kinds of an atlas of Pong are those of one of many states."""


class Axis(Settings):
    """Center of an object along one axis: `scale * ram[byte] + offset` pixels."""

    byte: int | None = Field(
        ge=0, lt=RAM_SIZE, description="Byte that encodes the position (null: constant or not encoded in one byte)"
    )
    scale: float = Field(ge=-_MAX_COORDINATE, le=_MAX_COORDINATE, description="Pixels per unit of the byte")
    offset: float = Field(ge=-_MAX_OFFSET, le=_MAX_OFFSET, description="Pixels")
    extent: int = Field(
        ge=1, le=_MAX_COORDINATE, description="Size of the object in pixels; without a byte, of the range it is in"
    )


class ScreenPosition(Settings):
    """Position on the screen as a function of the RAM."""

    x: Axis
    y: Axis

    def at(self, ram: Ram, size: tuple[int, int]) -> Region | None:
        """Return the region for a RAM, uint8 of shape (128,), or None if it is off a screen of (height, width)."""
        height, width = size
        left, right = _interval(self.x, ram, width)
        top, bottom = _interval(self.y, ram, height)
        if left >= right or top >= bottom:
            return None
        return Region(x=left, y=top, width=right - left, height=bottom - top)


class ScreenObject(ScreenPosition):
    """An object on the screen that bytes move."""

    name: str = Field(pattern=r"^[A-Z]+$")
    bounds: Region = Field(description="Part of the screen in which the object was detected")


def _interval(axis: Axis, ram: Ram, limit: int) -> tuple[int, int]:
    center = axis.offset if axis.byte is None else axis.scale * int(ram[axis.byte]) + axis.offset
    begin = round(center - axis.extent / 2)
    return max(0, begin), min(limit, begin + axis.extent)


class Entry(Settings):
    """Effect of one byte."""

    byte: int = Field(ge=0, lt=RAM_SIZE)
    kind: Kind
    relation: Relation = Field(
        description="moves, shows: changing the byte alone changes the screen; follows: it does not, since the game "
        "overwrites the byte before it draws, but during play the byte correlates with the screen or the rewards"
    )
    confidence: float = Field(
        ge=0, le=1, description="Share of the states, or of the byte's changes during play, that support the kind"
    )
    visible: float = Field(ge=0, le=1, description="Share of the states in which changing the byte changed the screen")
    region: Region | None = Field(description="Affected part of the screen (null: none)")
    object: str | None = Field(default=None, description="Name of the object the byte moves or follows")
    encoding: Encoding | None = Field(
        default=None, description="How the byte's value changes during play (null: not measured)"
    )


class Atlas(Settings):
    """Effect of every byte of a game's RAM on its screen."""

    model_config = ConfigDict(serialize_by_alias=True)

    schema_version: int = Field(default=SCHEMA, alias="schema", ge=1, le=SCHEMA)
    game: GameSettings = Field(description="Emulator settings of the measurement: no sticky actions, frame skip 1")
    ale_py: str = Field(description="Version of ale-py")
    rom_sha256: Sha256
    seed: int
    player: str = Field(description="Player: random, or the digest of a checkpoint")
    steps: int = Field(ge=1, description="Steps played")
    states: int = Field(ge=1, description="States in which bytes were perturbed")
    perturbations: int = Field(ge=0, description="Perturbations of a byte, each drawn and compared")
    discarded_states: int = Field(ge=0, description="States discarded because restoring them was not exact")
    size: tuple[int, int] = Field(description="(height, width) of the screen")
    entries: tuple[Entry, ...] = Field(min_length=RAM_SIZE, max_length=RAM_SIZE, description="One per byte, in order")
    objects: tuple[ScreenObject, ...]

    @property
    def caution(self) -> str:
        """A sentence about too few states; empty if there are enough of them."""
        if self.states >= ENOUGH_STATES:
            return ""
        return (
            f"From {self.states} of at least {ENOUGH_STATES} states: most kinds are uncertain, and bytes whose effect "
            "is rare seem to have none."
        )

    def positions(self) -> tuple[ScreenPosition | None, ...]:
        """Return for each byte the position of its object or region; None if it has none or covers too much."""
        objects = {one.name: ScreenPosition(x=one.x, y=one.y) for one in self.objects}
        return tuple(objects.get(entry.object or "") or _region_position(entry, self.size) for entry in self.entries)


def _region_position(entry: Entry, size: tuple[int, int]) -> ScreenPosition | None:
    height, width = size
    region = entry.region
    if region is None or region.width * region.height >= _MAX_REGION_SHARE * height * width:
        return None
    return ScreenPosition(x=_constant(region.x, region.width), y=_constant(region.y, region.height))


def _constant(begin: int, extent: int) -> Axis:
    return Axis(byte=None, scale=0, offset=begin + extent / 2, extent=extent)


def read_atlas(path: Path) -> Atlas:
    """Read an atlas from the JSON of `Atlas.model_dump_json`.

    Raises:
        AtlasError: The file does not exist, is not an atlas, or has a newer schema.
    """
    if not path.is_file():
        raise AtlasError(f"{path} does not exist. Expected an atlas, e.g. atlas.json")
    if path.stat().st_size > _LARGEST_FILE:
        raise AtlasError(f"{path} is not an atlas: it is larger than {_LARGEST_FILE // 1024} KiB")
    try:
        return parse_json(Atlas, path.read_bytes())
    except NewerSchemaError as error:
        raise AtlasError(f"{path} has {error}") from None
    except ValueError as error:
        raise AtlasError(f"{path} is not an atlas: {error}") from None
