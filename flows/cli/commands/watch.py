"""`ramreel watch`."""

from __future__ import annotations

from flows.cli.browser import open_in_browser
from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import announce, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import WatchSettings


@options_of(WatchSettings)
def watch(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Watch a checkpoint play live in the browser, with the policy's view of it, pause and takeover, until Ctrl-C."""
    settings = validated(WatchSettings, given)
    announce(f"watch {settings.run}")
    from tasks.arcade.emulator.environment_ids import rom_path
    from tasks.runs.lookup import find_checkpoint, load_checkpoint
    from tasks.services.child_processes import sigterm_as_ctrl_c
    from tasks.web.live_server import serve_live

    store = open_checked_store(tracking_uri)
    with validating():
        stored = find_checkpoint(store, settings.run, settings.checkpoint)
        rom_path(load_checkpoint(store, stored).settings.game.rom)
    with open_terminal(as_json) as terminal, sigterm_as_ctrl_c():

        def show(address: str) -> None:
            values = {"run_id": stored.run_id, "step": stored.step, "address": address}
            terminal.results([f"live view: {address} (until Ctrl-C)"], values)
            if settings.browser:
                open_in_browser(address)

        serve_live(store, stored, settings.seed, deterministic=settings.deterministic, on_start=show)
