"""`ramreel games`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows.cli.options import Given, Json, TrackingUri, options_of
from flows.cli.session import InvalidInputError, announce, open_checked_store, open_terminal, validated, validating
from tasks.arcade.inputs.commands import GamesSettings

if TYPE_CHECKING:
    from tasks.arcade.settings.game import GameSettings
    from tasks.store import TrainedGame

_MAX_GAMES = 12
"""Games whose actions are listed: each ROM takes 80 ms to load."""
_MAX_RUNS = 300
"""Training runs that are counted: MLflow loads all parameters and metrics of each, about 5 ms per run."""
_COLUMNS = ["environment id", "frame skip", "sticky actions", "actions", "random", "human", "trained here"]


@options_of(GamesSettings)
def games(given: Given, *, tracking_uri: TrackingUri = None, as_json: Json = False) -> None:
    """List the environment ids: actions, published scores of random play and of humans, and the runs in the store."""
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
    announce("list the games")
    trained = open_checked_store(tracking_uri).trained_games(pattern, _MAX_RUNS)
    actions = _actions(listed) if len(playable) <= _MAX_GAMES else {}
    lines = [] if actions else [f"actions: name a game, such as `ramreel games {listed[0].rom.replace('_', '')}`"]
    if len(listed) < len(found):
        lines.append(f"left out, since ALE_ROMS_DIR has no ROM for them: {len(found) - len(listed)} ids")
    if sum(game.runs for game in trained.values()) == _MAX_RUNS:
        lines.append(f"trained here: the newest {_MAX_RUNS} training runs; the gallery shows all of them")
    entries = [_entry(game, actions.get(game.env_id), trained.get(game.env_id)) for game in listed]
    with open_terminal(as_json) as terminal:
        terminal.table(_COLUMNS, [_row(entry) for entry in entries], lines, {"games": entries})


def _actions(listed: Sequence[GameSettings]) -> Mapping[str, Sequence[str]]:
    """Return the names of the actions by environment id."""
    from tasks.arcade.emulator.emulator import action_names

    by_rom = {game.rom: action_names(game) for game in listed if not game.full_action_space}
    return {game.env_id: by_rom.get(game.rom) or action_names(game) for game in listed}


def _entry(game: GameSettings, actions: Sequence[str] | None, trained: TrainedGame | None) -> dict[str, Any]:
    from tasks.arcade.scores.published import REFERENCES, Reference

    reference = REFERENCES.get(game.rom, Reference())
    return {
        **game.model_dump(mode="json"),
        "actions": None if actions is None else list(actions),
        "random_score": reference.random,
        "human_score": reference.human,
        "runs": trained.runs if trained else 0,
        "best_mean_return": trained.best_mean_return if trained else None,
    }


def _row(entry: Mapping[str, Any]) -> list[str]:
    skip = entry["frame_skip"]
    names, runs, best = entry["actions"], entry["runs"], entry["best_mean_return"]
    return [
        entry["env_id"],
        " to ".join(map(str, skip)) if isinstance(skip, list) else str(skip),
        f"{entry['repeat_action_probability']:g}",
        "" if names is None else f"{len(names)}: {' '.join(names)}",
        *("" if score is None else f"{score:,g}" for score in (entry["random_score"], entry["human_score"])),
        f"{runs} run{'' if runs == 1 else 's'}{'' if best is None else f', best {best:.1f}'}" if runs else "",
    ]
