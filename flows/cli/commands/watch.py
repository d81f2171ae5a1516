"""`ramreel watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import InvalidInputError, announce, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import WatchSettings

if TYPE_CHECKING:
    from tasks.store import Store, StoredCheckpoint


@options_of(WatchSettings)
def watch(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Watch a checkpoint play live in a window, or in the browser with the policy's view of it, pause and takeover."""
    settings = validated(WatchSettings, given)
    announce(f"watch {settings.run}")
    from tasks.arcade.emulator.environment_ids import rom_path
    from tasks.arcade.episodes.live_view import NoDisplayError
    from tasks.arcade.episodes.live_view import watch as play
    from tasks.runs.lookup import find_checkpoint, load_checkpoint

    store = open_checked_store(tracking_uri)
    with validating():
        stored = find_checkpoint(store, settings.run, settings.checkpoint)
        checkpoint = load_checkpoint(store, stored)
        rom_path(checkpoint.settings.game.rom)
    if settings.browser:
        _serve(store, stored, settings, as_json)
        return
    with open_terminal(as_json) as terminal:
        try:
            episode_return = play(
                checkpoint.agent(),
                checkpoint.settings.game,
                settings.seed,
                action_seed=settings.seed,
                deterministic=settings.deterministic,
            )
        except NoDisplayError as error:
            raise InvalidInputError(f"{error}, or `ramreel watch {settings.run} --browser`") from None
        terminal.results(
            [f"return {episode_return:g}, checkpoint at step {stored.step:,}"],
            {"run_id": stored.run_id, "step": stored.step, "return": episode_return},
        )


def _serve(store: Store, stored: StoredCheckpoint, settings: WatchSettings, as_json: bool) -> None:
    from flows.cli.browser import open_in_browser
    from tasks.services.child_processes import sigterm_as_ctrl_c
    from tasks.web.live_server import serve_live

    with open_terminal(as_json) as terminal, sigterm_as_ctrl_c():

        def announce(address: str) -> None:
            values = {"run_id": stored.run_id, "step": stored.step, "address": address}
            terminal.results([f"live view: {address} (until Ctrl-C)"], values)
            open_in_browser(address)

        serve_live(store, stored, settings.seed, deterministic=settings.deterministic, on_start=announce)
