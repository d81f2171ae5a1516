"""Environment ids and ROMs of ale-py, and the emulator settings an id stands for."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from functools import cache
from pathlib import Path

import ale_py
import gymnasium
from ale_py import roms
from gymnasium.envs.registration import EnvSpec

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.game import GameSettings

_OLD_ID = re.compile(r"^(?P<game>\w+?)(?P<ram>-ram)?(?P<kind>Deterministic|NoFrameskip)?-(?P<version>v0|v4)$")
_OLD_V5 = re.compile(r"^ALE/(?P<game>\w+)-ram-v5$")


ROMS_ENVIRONMENT = "ALE_ROMS_DIR"
"""Environment variable of ale-py with the folder of the ROMs, where it is not that of the installed ale-py."""

# ale-py prints a line on standard output, where scripts expect JSON, for every emulator while the variable is set.
vars(roms)["print"] = lambda *_: None


class UnknownEnvironmentError(RamreelError, ValueError):
    """The environment id, ROM, mode or difficulty does not exist in the installed ale-py."""


class RomError(RamreelError):
    """The file of a known ROM cannot be read: the machine's fault, not that of a checkpoint, a trace or a run."""


def ale_version() -> str:
    """Return the version of the installed ale-py."""
    return str(ale_py.__version__)


@cache
def environment_ids() -> tuple[str, ...]:
    """Return every environment id that ale-py registers, sorted."""
    return tuple(sorted(name for name, spec in gymnasium.registry.items() if _is_ale(spec.entry_point)))


def _is_ale(entry_point: object) -> bool:
    return isinstance(entry_point, str) and entry_point.startswith("ale_py.")


def resolve(env_id: str) -> GameSettings:
    """Return the emulator settings of an environment id.

    Ids of former Gym releases keep their meaning: `-ram` is dropped (every emulator has RAM), and `Deterministic`,
    which ale-py no longer registers, is a fixed frame skip of 4 (3 in Space Invaders).

    Raises:
        UnknownEnvironmentError: The id is not registered, or not an Atari environment.
    """
    registered = gymnasium.registry.get(env_id)
    return _resolve_old(env_id) if registered is None else settings_of(registered)


def settings_of(spec: EnvSpec) -> GameSettings:
    """Return the emulator settings of an environment's specification: of a registered id, or as `make` was called.

    Raises:
        UnknownEnvironmentError: It is not an Atari environment.
    """
    if not _is_ale(spec.entry_point):
        raise UnknownEnvironmentError(f"{spec.id} has no Atari RAM. Use an environment of ale-py, e.g. ALE/Pong-v5")
    kwargs = spec.kwargs
    return GameSettings(
        env_id=spec.id,
        rom=kwargs["game"],
        frame_skip=kwargs.get("frameskip", 4),
        repeat_action_probability=kwargs.get("repeat_action_probability", 0.25),
        full_action_space=kwargs.get("full_action_space", False),
        mode=kwargs.get("mode"),
        difficulty=kwargs.get("difficulty"),
        max_episode_frames=kwargs.get("max_num_frames_per_episode") or 108_000,
    )


def _resolve_old(env_id: str) -> GameSettings:
    known = set(environment_ids())
    if (match := _OLD_V5.match(env_id)) and f"ALE/{match['game']}-v5" in known:
        return resolve(f"ALE/{match['game']}-v5")
    if (match := _OLD_ID.match(env_id)) and f"{match['game']}-{match['version']}" in known:
        if match["kind"] != "Deterministic":
            return resolve(f"{match['game']}{match['kind'] or ''}-{match['version']}")
        base = resolve(f"{match['game']}-{match['version']}")
        skip = 3 if base.rom == "space_invaders" else 4
        name = f"{match['game']}Deterministic-{match['version']}"
        return base.model_copy(update={"env_id": name, "frame_skip": skip})
    raise UnknownEnvironmentError(f"Unknown environment {env_id!r}. {_suggestion(env_id)}")


def _suggestion(env_id: str) -> str:
    by_fold = {name.casefold(): name for name in environment_ids()}
    by_game = {name.removeprefix("ale/"): full for name, full in by_fold.items()}
    folded = env_id.casefold().replace("-ram", "")
    matches = difflib.get_close_matches(folded, [*by_fold, *by_game], n=6)
    names = dict.fromkeys(by_fold.get(name) or by_game[name] for name in matches)
    if names:
        return f"Did you mean {_either([repr(name) for name in list(names)[:3]])}?"
    return "`ramreel games` lists all ids, e.g. ALE/Pong-v5"


def _either(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def base_id(settings: GameSettings) -> str:
    """Return an id that ale-py registers for the ROM of `settings`; other settings may differ.

    Raises:
        UnknownEnvironmentError: ale-py registers no environment for the ROM.
    """
    for name in environment_ids():
        if gymnasium.spec(name).kwargs["game"] == settings.rom:
            return name
    raise UnknownEnvironmentError(f"ale-py {ale_version()} has no environment for the ROM {settings.rom!r}")


@cache
def rom_digest(rom: str) -> str:
    """Return the SHA-256 of the ROM's bytes in hex.

    Raises:
        UnknownEnvironmentError: ale-py knows no such ROM.
        RomError: its file cannot be read.
    """
    return hashlib.sha256(rom_path(rom).read_bytes()).hexdigest()


@cache
def rom_set_digest() -> str:
    """Return one digest of all ROMs of the installed ale-py, in hex."""
    return hashlib.sha256(
        " ".join(f"{rom} {rom_digest(rom)}" for rom in sorted(roms.get_all_rom_ids())).encode()
    ).hexdigest()


def rom_path(rom: str) -> Path:
    """Return the path of a ROM in `ALE_ROMS_DIR`, otherwise within the installed ale-py, and check its contents.

    Raises:
        UnknownEnvironmentError: ale-py knows no such ROM.
        RomError: the file is missing, unreadable, or not the ROM that ale-py expects.
    """
    if rom not in roms.get_all_rom_ids():
        raise UnknownEnvironmentError(f"ale-py {ale_version()} has no ROM {rom!r}")
    try:
        path = roms.get_rom_path(rom)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        if folder := os.environ.get(ROMS_ENVIRONMENT):
            raise RomError(_unusable_folder(folder, f"{rom}.bin cannot be read: {reason}", f"{rom}.bin")) from None
        raise RomError(f"ale-py {ale_version()} has no file {rom}.bin ({reason}): install ale-py again") from None
    assert path is not None
    return path


def has_rom(rom: str) -> bool:
    """Return whether the file of a ROM can be read."""
    try:
        rom_path(rom)
    except RomError:
        return False
    return True


def check_roms_folder() -> None:
    """Check that `ALE_ROMS_DIR` is a folder, if it is set; a game without its ROM in it is found by `rom_path`.

    Raises:
        RomError: it is not.
    """
    folder = os.environ.get(ROMS_ENVIRONMENT)
    if folder and not Path(folder).is_dir():
        raise RomError(_unusable_folder(folder, "it is not a folder", "the ROMs"))


def _unusable_folder(folder: str, problem: str, missing: str) -> str:
    return (
        f"{ROMS_ENVIRONMENT} is {folder!r}, but {problem}. Unset it to use the ROMs of ale-py, or set it to a folder "
        f"with {missing}"
    )
