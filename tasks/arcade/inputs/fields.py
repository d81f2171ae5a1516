"""Field types that several input models share."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tasks.arcade.settings.run import ApproachSettings


def _offer_games(schema: dict[str, Any]) -> None:
    """A form offers today's games to choose from; an old id can be typed."""
    from tasks.arcade.emulator.emulator import environment_ids

    games = [name for name in environment_ids() if name.endswith("-v5")]
    schema["anyOf"] = [
        {"title": "game", "type": "string", "enum": games},
        {"title": "any id", "type": schema.pop("type")},
    ]


def _offer_approaches(schema: dict[str, Any]) -> None:
    """A form offers the named approaches."""
    from tasks.arcade.settings.approaches import APPROACHES

    schema["enum"] = list(APPROACHES)


EnvId = Annotated[
    str,
    Field(
        title="Game",
        description="environment id, e.g. ALE/Pong-v5; old ones (Pong-ram-v0) are understood",
        json_schema_extra=_offer_games,
    ),
]

ApproachName = Annotated[
    str, Field(title="Approach", description="a named way to train", json_schema_extra=_offer_approaches)
]

Approach = ApproachName | ApproachSettings
"""A named one, or a user's own as a value."""


def approach_name(approach: Approach) -> str:
    return approach if isinstance(approach, str) else approach.name


Seed = Annotated[int, Field(ge=0, lt=2**31)]

_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters after which a page shows text the other way round."""


def _is_a_name(name: str) -> str:
    if not name.strip() or not is_shown(name):
        raise ValueError("a name is a line of text that can be seen, without control characters")
    return name


def is_shown(text: str) -> bool:
    """Whether a text is one line that is shown as it is: nothing in it moves a cursor, changes a color or turns."""
    return not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") or one in _TURNING for one in text)


Name = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_is_a_name)]
"""What a person calls something in MLflow."""


def short(run: str) -> str:
    """A run's id as a person reads it: its first 8 digits; a name stays a name."""
    return run[:8] if re.fullmatch(r"[0-9a-f]{32}", run) else run
