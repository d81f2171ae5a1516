"""What was seen when bytes were changed becomes an atlas: kinds, things and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.classify import AXES, FEW, Found, Vote, Votes, moving_bytes, together, vote
from tasks.arcade.atlas.dynamics import Habits, habits
from tasks.arcade.atlas.model import Atlas, Entry, Kind, Region
from tasks.arcade.atlas.objects import HITS, NEAR, MetThing, find_things, fit, followers, within
from tasks.arcade.atlas.perturb import Study
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen, ale_version, rom_digest
from tasks.arcade.settings.game import GameSettings


@dataclass(frozen=True)
class Chart:
    """An atlas, and what its picture is drawn from.

    Attributes:
        atlas: as it is kept.
        heat: of each byte, float32 of shape (128, height, width): how often a change of it changed a pixel.
        picture: RGB, a state in which many of the things are to be seen.
        ram: that state's, uint8 of shape (128,).
    """

    atlas: Atlas
    heat: npt.NDArray[np.float32]
    picture: Screen
    ram: Ram


def chart(studies: Sequence[Study], game: GameSettings, seed: int, player: str) -> Chart:
    """Judge what was found in plays of one game.

    Args:
        studies: one or more.
        game: what was played.
        seed: that the plays' seeds came from.
        player: who played.
    """
    found = together(studies)
    votes = vote(found.evidence)
    moving = moving_bytes(votes)
    things = find_things(found, votes, moving)
    telling = followers(found, things, votes)
    habit = habits([one.played for one in studies])
    entries = _Judge(found, votes, moving, things, telling, habit).entries()
    atlas = Atlas(
        game=game.model_copy(update={"frame_skip": 1, "repeat_action_probability": 0.0}),
        ale_py=ale_version(),
        rom_sha256=rom_digest(game.rom),
        seed=seed,
        player=player,
        steps=sum(len(one.played.rewards) for one in studies),
        states=len(found.rams),
        pokes=sum(one.pokes for one in studies),
        unsteady=sum(one.unsteady for one in studies),
        size=found.size,
        entries=entries,
        things=tuple(thing.value for thing in things if thing.told),
    )
    met = np.sum([~np.isnan(thing.boxes[:, 0]) for thing in things], axis=0) if things else np.zeros(len(found.rams))
    best = int(np.argmax(met))
    return Chart(atlas, found.heat, np.concatenate([one.pictures for one in studies])[best], found.rams[best])


class _Judge:
    """One entry for each byte."""

    def __init__(
        self,
        found: Found,
        votes: Votes,
        moving: dict[int, int],
        things: list[MetThing],
        telling: dict[int, tuple[MetThing, int, float]],
        habit: Habits,
    ) -> None:
        self._found, self._votes, self._moving = found, votes, moving
        self._things, self._telling, self._habit = things, telling, habit
        self._visible = (votes != Vote.UNSEEN).mean(axis=0)

    def entries(self) -> tuple[Entry, ...]:
        entries = [self._entry(byte) for byte in range(RAM_SIZE)]
        displays = [entry for entry in entries if entry.kind in ("score", "lives", "timer") and self._is_small(entry)]
        return tuple(self._beside(entry, displays) for entry in entries)

    def _entry(self, byte: int) -> Entry:
        visible = float(self._visible[byte])
        if byte in self._moving:
            return self._mover(byte, visible)
        if byte in self._telling:
            thing, axis, hits = self._telling[byte]
            kind: Kind = ("x", "y")[axis]
            reach = thing.value.reach
            return Entry(
                byte=byte, kind=kind, how="follows", sure=hits, visible=visible, region=reach, thing=thing.value.name
            )
        kind, sure = self._habitual(byte)
        how = "shows" if visible else "follows"
        region = _warm_region(self._found.heat[byte])
        if kind == "none" and visible:
            seen = self._votes[:, byte][self._votes[:, byte] != Vote.UNSEEN]
            kind = "screen" if (seen == Vote.SCREEN).mean() > 0.5 else "look"
            sure = float((seen == (Vote.SCREEN if kind == "screen" else Vote.LOOK)).mean())
        elif kind == "none":
            how, sure = "nothing", max(0.0, 1 - 3 / len(self._votes))
        return Entry(byte=byte, kind=kind, how=how, sure=sure, visible=visible, region=region)

    def _is_small(self, entry: Entry) -> bool:
        height, width = self._found.size
        region = entry.region
        small = region is not None and region.width * region.height < _DISPLAY * width * height
        return small and entry.visible >= HITS

    def _mover(self, byte: int, visible: float) -> Entry:
        axis = self._moving[byte]
        seen = self._votes[:, byte][self._votes[:, byte] != Vote.UNSEEN]
        thing = next((thing for thing in self._things if byte in thing.members), None)
        places_it = self._places(byte, axis, thing)
        kinds: tuple[Kind, Kind] = ("x", "y") if places_it else ("x drive", "y drive")
        return Entry(
            byte=byte,
            kind=kinds[axis],
            how="moves",
            sure=float((seen == AXES[axis]).mean()),
            visible=visible,
            region=_warm_region(self._found.heat[byte]),
            thing=thing.value.name if thing and thing.told else None,
        )

    def _places(self, byte: int, axis: int, thing: MetThing | None) -> bool:
        """Whether a byte that moves a thing says where it is: what it does to a place stays, to a speed it grows."""
        growth = self._found.evidence.growth[self._votes[:, byte] == AXES[axis], byte, axis]
        growth = growth[~np.isnan(growth)]
        if len(growth) >= FEW and ((growth > _STAYS[0]) & (growth < _STAYS[1])).mean() >= 0.5:
            return True
        if thing is None or not thing.told:
            return False
        places = thing.middles(axis)
        met = ~np.isnan(places)
        if np.ptp(places[met]) <= 2 * NEAR or len(np.unique(self._found.rams[met, byte])) == 1:
            return True
        return fit(self._found.rams[:, byte], places).hits >= 0.5

    def _habitual(self, byte: int) -> tuple[Kind, float]:
        habit = self._habit
        shares: dict[Kind, float] = {
            "lives": float(habit.lives[byte]),
            "score": float(habit.score[byte]),
            "timer": float(habit.timer[byte]),
        }
        kind = max(shares, key=lambda kind: shares[kind])
        return (kind, shares[kind]) if shares[kind] >= _HABIT else ("none", 0.0)

    def _beside(self, entry: Entry, displays: list[Entry]) -> Entry:
        """What hardly ever changed in play, but shows where a display is, or in a row with the score's digits."""
        rewarded = float(self._habit.rewarded[entry.byte])
        unknown = self._habit.lively[entry.byte] == 0
        if entry.kind != "look" or not (unknown or rewarded >= HITS):
            return entry
        kinds = [display.kind for display in displays if _overlap(entry.region, display.region) > 0.5]
        if not kinds and any(
            _in_a_row(entry.region, display.region) for display in displays if display.kind == "score"
        ):
            kinds = ["score"]
        return entry.model_copy(update={"kind": kinds[0], "sure": 0.5 if unknown else rewarded}) if kinds else entry


_STAYS = (0.7, 1.4)
"""How much of a movement is there in the next frame, as a share of the first one's."""
_DISPLAY = 0.1
"""Share of the picture that no display takes up."""
_HABIT = 0.75
"""Share of changes in play that have to fit."""


def _overlap(one: Region | None, other: Region | None) -> float:
    """What two regions share, as a share of both together."""
    if one is None or other is None:
        return 0.0
    across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    shared = max(0, across) * max(0, down)
    return shared / (one.width * one.height + other.width * other.height - shared)


def _in_a_row(one: Region | None, other: Region | None) -> bool:
    """Whether two regions lie on the same lines, side by side."""
    if one is None or other is None:
        return False
    down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    gap = max(one.x, other.x) - min(one.x + one.width, other.x + other.width)
    return down >= 0.7 * max(one.height, other.height) and gap <= max(one.width, other.width)


def _warm_region(heat: npt.NDArray[np.float32]) -> Region | None:
    """The rectangle around the warmest pixels, which hold nine tenths of the heat together."""
    if not heat.any():
        return None
    ranked = np.sort(heat, axis=None)[::-1]
    least = ranked[np.searchsorted(np.cumsum(ranked, dtype=float), 0.9 * float(ranked.sum(dtype=float)))]
    warm = heat >= least
    rows, columns = np.flatnonzero(warm.any(axis=1)), np.flatnonzero(warm.any(axis=0))
    height, width = heat.shape
    return within(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, width, height)
