"""`ramreel games`."""

from __future__ import annotations

from flows.cli.options import Given, Json, options_of
from flows.cli.session import InvalidInputError, open_terminal, validated, validating
from tasks.arcade.inputs.commands import GamesSettings


@options_of(GamesSettings)
def games(given: Given, *, as_json: Json = False) -> None:
    """List the environment ids that can be trained on."""
    from tasks.arcade.emulator.environment_ids import environment_ids, has_rom, resolve, rom_path

    pattern = validated(GamesSettings, given).pattern
    found = [resolve(name) for name in environment_ids() if pattern.casefold() in name.casefold()]
    if not found:
        raise InvalidInputError(f"No environment id contains {pattern!r}: `ramreel games` lists all of them")
    playable = {rom for rom in {game.rom for game in found} if has_rom(rom)}
    if not playable:
        with validating():
            rom_path(found[0].rom)
    listed = [game for game in found if game.rom in playable]
    left_out = f"left out, since ALE_ROMS_DIR has no ROM for them: {len(found) - len(listed)} ids"
    with open_terminal(as_json) as terminal:
        terminal.table(
            ["environment id", "frame skip", "sticky actions"],
            [[game.env_id, str(game.frame_skip), f"{game.repeat_action_probability:g}"] for game in listed],
            [left_out] if len(listed) < len(found) else [],
            {"games": [game.model_dump(mode="json") for game in listed]},
        )
