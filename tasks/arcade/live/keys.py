"""Keys of a person at the console's joystick, as the actions of a game."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from tasks.arcade.settings.base import Settings

NOOP = "NOOP"


class Keys(Settings):
    """Keys that are held down."""

    up: bool = Field(default=False)
    down: bool = Field(default=False)
    left: bool = Field(default=False)
    right: bool = Field(default=False)
    fire: bool = Field(default=False)

    @property
    def held(self) -> bool:
        return self.up or self.down or self.left or self.right or self.fire


def action_of_keys(keys: Keys, names: Sequence[str]) -> int:
    """Return the action of a game for the keys that are held.

    Games have few of the joystick's combinations: of one that a game does not have, the direction comes before the
    button. Where a paddle only turns left and right, up turns it right and down turns it left, as Pong needs it.

    Args:
        keys: Keys that are held.
        names: ALE's names of the game's actions, in order.
    """
    vertical = "" if keys.up == keys.down else "UP" if keys.up else "DOWN"
    horizontal = "" if keys.left == keys.right else "LEFT" if keys.left else "RIGHT"
    if vertical and not horizontal and vertical not in names:
        vertical, horizontal = "", "RIGHT" if keys.up else "LEFT"
    fire = "FIRE" if keys.fire else ""
    directions = [one for one in (vertical + horizontal, horizontal, vertical) if one]
    for name in (*(one + fire for one in directions), *directions, fire, NOOP):
        if name in names:
            return list(names).index(name)
    return 0
