"""`ramreel watch`."""

from __future__ import annotations

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import InvalidInputError, announce, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import WatchSettings


@options_of(WatchSettings)
def watch(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """Watch a checkpoint play live in a window: one emulator gives the policy its RAM and the window its frames."""
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
            raise InvalidInputError(str(error)) from None
        terminal.results(
            [f"return {episode_return:g}, checkpoint at step {stored.step:,}"],
            {"run_id": stored.run_id, "step": stored.step, "return": episode_return},
        )
