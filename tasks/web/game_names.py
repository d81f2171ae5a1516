"""Names and addresses of games on the pages."""

from __future__ import annotations

import re
from urllib.parse import quote


def game_title(env_id: str) -> str:
    """Return the title of a game: `ALE/SpaceInvaders-v5` becomes `Space Invaders`, other ids keep their suffix."""
    name = env_id.removeprefix("ALE/")
    base = name.removesuffix("-v5")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", base) if env_id == f"ALE/{base}-v5" else name


def game_page(env_id: str, run_id: str | None = None) -> str:
    """Return the address of a game's page, with one of its runs selected."""
    return f"/games/{quote(env_id)}" + (f"?run={run_id}" if run_id else "")
