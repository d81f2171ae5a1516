"""Addresses of pages by what a user calls them."""

from __future__ import annotations

from urllib.parse import quote

from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, environment_ids, resolve
from tasks.store import REPORT, Store, StoreError
from tasks.web.game_names import game_page, game_title


def artifact_address(run_id: str, artifact_path: str) -> str:
    """Return the path of an artifact."""
    return f"/runs/{run_id}/artifacts/{quote(artifact_path)}"


def page_path(store: Store, target: str) -> str:
    """Return the path of a page.

    Args:
        store: the store that the pages show.
        target: `gallery`, `report` for the newest finished comparison, an environment id, the name of a game, or a
            run as `Store.resolve_run` takes it.

    Raises:
        StoreError: there is no such page.
    """
    if target == "gallery":
        return "/"
    if target == "report":
        return _newest_report(store)
    if env_id := _game(target):
        return game_page(env_id)
    try:
        return f"/runs/{store.resolve_run(target)}"
    except StoreError as error:
        raise StoreError(f"{target!r} is not a game, and {error}") from None


def _newest_report(store: Store) -> str:
    found = store.runs_with({"ramreel.kind": "comparison"}, status="FINISHED", limit=1)
    if not found:
        raise StoreError("there is no report yet: `ramreel compare RUN RUN` makes one")
    return artifact_address(found[0], REPORT)


def _game(target: str) -> str | None:
    """Return the environment id of a game by its id, or by its name in any case, with or without spaces."""
    if "-v" in target:
        try:
            return resolve(target).env_id
        except UnknownEnvironmentError:
            return None
    wanted = target.lower().replace(" ", "")
    ids = (env_id for env_id in environment_ids() if env_id.startswith("ALE/"))
    return next((env_id for env_id in ids if game_title(env_id).lower().replace(" ", "") == wanted), None)
