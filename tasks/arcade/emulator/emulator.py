"""Environment ids and emulators: the one place where an emulator is made, and the only room that knows ale-py.

An `Emulator` drives ale-py itself and is step for step what `gymnasium.make(..., obs_type="ram")` gives for the same
seed and actions (Gymnasium's `AtariEnv`, ale-py 0.12). Training and recording build it alike, from the same settings;
recording only looks at the screen as well.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ale_py
import gymnasium
import numpy as np
import numpy.typing as npt
from ale_py import roms

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.game import GameSettings

RAM_SIZE = 128
SCREEN_FPS = 60 * 0.99867
"""Frames a second of an NTSC console: 3.579545 MHz / 3 clock, 76 cycles a line, 262 lines."""
PAL_SCREEN_FPS = 3_546_894 / 3 / 76 / 312
"""Frames a second of a PAL console, about 49.86."""
_PAL_LINES = 250

Ram = npt.NDArray[np.uint8]
Screen = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.uint8]

SAMPLES = 512
"""Of sound in every frame, whatever the console: the sample rate follows the frame rate."""

_OLD_ID = re.compile(r"^(?P<game>\w+?)(?P<ram>-ram)?(?P<kind>Deterministic|NoFrameskip)?-(?P<version>v0|v4)$")
_OLD_V5 = re.compile(r"^ALE/(?P<game>\w+)-ram-v5$")


class UnknownGameError(RamreelError, ValueError):
    """No emulator can be made from this environment id; the message says what would be right."""


def ale_version() -> str:
    """The installed ale-py's version."""
    return str(ale_py.__version__)


@cache
def environment_ids() -> tuple[str, ...]:
    """Every environment id that ale-py registers, sorted."""
    return tuple(sorted(name for name, spec in gymnasium.registry.items() if _is_ale(spec.entry_point)))


def _is_ale(entry_point: object) -> bool:
    return isinstance(entry_point, str) and entry_point.startswith("ale_py.")


def resolve(env_id: str) -> GameSettings:
    """Settings of the emulator that an environment id stands for.

    Ids of old Gym releases resolve to what they were there: `-ram` is dropped (every emulator has RAM), and
    `Deterministic`, which ale-py no longer registers, is a fixed frame skip of 4 (3 in Space Invaders).

    Raises:
        UnknownGameError: no such id, or not an Atari environment.
    """
    registered = gymnasium.registry.get(env_id)
    if registered is not None and not _is_ale(registered.entry_point):
        raise UnknownGameError(f"{env_id} has no Atari RAM to train on: use an environment of ale-py, e.g. ALE/Pong-v5")
    if registered is None:
        return _resolve_old(env_id)
    kwargs = registered.kwargs
    return GameSettings(
        env_id=env_id,
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
    raise UnknownGameError(f"no environment {env_id!r}: {_nearest(env_id)}")


def _nearest(env_id: str) -> str:
    by_fold = {name.casefold(): name for name in environment_ids()}
    by_game = {name.removeprefix("ale/"): full for name, full in by_fold.items()}
    folded = env_id.casefold().replace("-ram", "")
    near = difflib.get_close_matches(folded, [*by_fold, *by_game], n=6)
    names = dict.fromkeys(by_fold.get(name) or by_game[name] for name in near)
    if names:
        return f"did you mean {', '.join(list(names)[:3])}?"
    return "`ramreel games` lists them, e.g. ALE/Pong-v5"


@cache
def rom_digest(rom: str) -> str:
    """SHA-256 of the ROM's bytes, in hex.

    Raises:
        UnknownGameError: ale-py has no such ROM.
    """
    return hashlib.sha256(_rom_path(rom).read_bytes()).hexdigest()


def _rom_path(rom: str) -> Path:
    path = roms.get_rom_path(rom) if rom in roms.get_all_rom_ids() else None
    if path is None:
        raise UnknownGameError(f"ale-py {ale_version()} has no ROM {rom!r}")
    return path


@dataclass(frozen=True)
class EpisodeStart:
    """An emulator right after a reset: the only moment at which ALE's state is the whole truth.

    Attributes:
        state: ALE's own serialization, its random generator included.
        skip_generator: state of the generator that draws random frame skips (NumPy's PCG64).
        picture: the first one, of `Emulator.picture`, which ALE's state leaves out; empty where none are kept.
    """

    state: bytes
    skip_generator: dict[str, Any]
    picture: bytes = b""


@dataclass(frozen=True)
class Snapshot:
    """What an emulator without sticky actions can go back to, at any frame.

    With sticky actions it is not the whole truth: the action that may be repeated is missing.
    """

    state: ale_py.ALEState


def _quiet() -> None:
    # ALE greets on standard error for every emulator it makes.
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class Emulator:
    """One Atari, built from settings alone.

    Args:
        settings: the game.
        seed: of the first reset, if it is known already: loading the ROM twice costs 80 ms.
        ram: where to keep the RAM, uint8 of shape (128,); none: an array of its own.
        sound: whether `sound` may be asked for; the RAM is the same with it and without.

    Attributes:
        n_actions: how many actions there are; an action is an index 0 <= a < n_actions.
        action_names: ALE's names of them, in order.
        ram: the console's RAM after the last reset or step, uint8 of shape (128,); the same array is written anew
            at every step, so copy what you keep.
    """

    def __init__(
        self, settings: GameSettings, seed: int | None = None, ram: Ram | None = None, sound: bool = False
    ) -> None:
        self.settings = settings
        _quiet()
        self._ale = ale_py.ALEInterface()
        self._ale.setBool("sound_obs", sound)
        self._ale.setFloat("repeat_action_probability", settings.repeat_action_probability)
        self._ale.setInt("max_num_frames_per_episode", settings.max_episode_frames)
        self._skip_generator = np.random.default_rng()
        self._load(seed)
        self._ready_for = seed
        legal = self._ale.getLegalActionSet() if settings.full_action_space else self._ale.getMinimalActionSet()
        self._actions = [int(action.value) for action in legal]
        self.action_names = tuple(action.name for action in legal)
        self.n_actions = len(self._actions)
        self.ram: Ram = np.zeros(RAM_SIZE, np.uint8) if ram is None else ram
        self._last_two: Screen | None = None

    def _load(self, seed: int | None) -> None:
        # AtariEnv.seed_game, word for word: one seed feeds the frame-skip generator and the emulator's own.
        skip_seed, ale_seed = np.random.SeedSequence(seed).generate_state(2)
        self._skip_generator = np.random.default_rng(int(skip_seed))
        self._ale.setInt("random_seed", int(ale_seed.astype(np.int32)))
        self._ale.loadROM(_rom_path(self.settings.rom))
        if self.settings.mode is not None:
            self._check("mode", self.settings.mode, self._ale.getAvailableModes())
            self._ale.setMode(self.settings.mode)
        if self.settings.difficulty is not None:
            self._check("difficulty", self.settings.difficulty, self._ale.getAvailableDifficulties())
            self._ale.setDifficulty(self.settings.difficulty)

    def _check(self, switch: str, wanted: int, available: list[int]) -> None:
        if wanted not in available:
            known = ", ".join(map(str, available))
            raise UnknownGameError(f"{self.settings.env_id} has no {switch} {wanted}: it has {known}")

    def reset(self, seed: int | None = None) -> Ram:
        """Start an episode; with a seed the emulator's generators are seeded too, without they go on."""
        if seed is not None and seed != self._ready_for:
            self._load(seed)
        self._ready_for = None
        self._ale.reset_game()
        self._ale.getRAM(self.ram)
        if self._last_two is not None:
            self._last_two[:] = self._ale.getScreenGrayscale()
        return self.ram

    def step(self, action: int, each_frame: Callable[[], object] | None = None) -> tuple[float, bool, bool]:
        """Play one step of `frame_skip` frames.

        Args:
            action: index of the action.
            each_frame: called after every frame emulated, to look at the screen; it changes nothing.

        Returns:
            (reward, terminated, truncated); the reward is the game's own, unclipped, summed over the frames.
        """
        ale, code = self._ale, self._actions[action]
        skip = self.settings.frame_skip
        frames = skip if isinstance(skip, int) else int(self._skip_generator.integers(*skip))
        reward = 0
        for left in reversed(range(frames)):
            before = ale.getEpisodeFrameNumber() if each_frame else 0
            reward += ale.act(code)
            # Past the end of an episode ALE emulates nothing more: no new picture then.
            if each_frame and ale.getEpisodeFrameNumber() != before:
                each_frame()
            if left < 2 and self._last_two is not None:
                self._last_two[0] = self._last_two[1]
                ale.getScreenGrayscale(self._last_two[1])
        ale.getRAM(self.ram)
        return float(reward), ale.game_over(with_truncation=False), ale.game_truncated()

    def episode_start(self) -> EpisodeStart:
        """The emulator's state; call it right after `reset`, before any step."""
        state = self._ale.cloneState(include_rng=True).serialize()
        picture = b"" if self._last_two is None else self._last_two[1].tobytes()
        return EpisodeStart(state, dict(self._skip_generator.bit_generator.state), picture)

    def restore(self, start: EpisodeStart) -> Ram:
        """Go back to an episode's start, of this or of another emulator of the same settings.

        Raises:
            ValueError: pictures are kept, and it holds none of this game.
        """
        self._ready_for = None
        self._ale.reset_game()
        self._ale.restoreState(ale_py.ALEState(start.state))
        self._skip_generator.bit_generator.state = start.skip_generator
        self._ale.getRAM(self.ram)
        if self._last_two is not None:
            self._last_two[:] = np.frombuffer(start.picture, np.uint8).reshape(self.screen_size)
        return self.ram

    def moment(self) -> Snapshot:
        """The emulator as it is now."""
        return Snapshot(self._ale.cloneState(include_rng=True))

    def restore_snapshot(self, moment: Snapshot) -> Ram:
        """Be as at a moment of this emulator, as often as wanted."""
        self._ale.restoreState(moment.state)
        self._ale.getRAM(self.ram)
        return self.ram

    def write_ram_byte(self, byte: int, value: int) -> None:
        """Write one byte of the RAM, 0 to 127, behind the game's back."""
        self._ale.setRAM(byte, value)
        self.ram[byte] = value

    def ram_now(self, into: Ram) -> Ram:
        """The RAM after the last frame, in the middle of a step too, written into uint8 of shape (128,)."""
        self._ale.getRAM(into)
        return into

    def screen(self, into: Screen | None = None) -> Screen:
        """The picture of the last frame: uint8 of shape (height, width, 3), RGB; written into `into` if given."""
        if into is None:
            return np.asarray(self._ale.getScreenRGB())
        self._ale.getScreenRGB(into)
        return into

    def screen_indices(self, into: Screen) -> Screen:
        """The last frame's picture as numbers of the console's colors, written into uint8 of shape (height, width).

        Thirty times as fast as `screen`, which says what the colors are.
        """
        self._ale.getScreen(into)
        return into

    def keep_pictures(self) -> None:
        """Keep what `picture` tells, from the next reset on; the RAM is the same with it and without."""
        self._last_two = np.zeros((2, *self.screen_size), np.uint8)

    def picture(self) -> Screen:
        """What the last step looked like: uint8 of shape (height, width), grays as ALE has them.

        At each pixel the larger one of the last two frames, for some games draw things on every second frame only; at
        an episode's start the first frame.
        """
        assert self._last_two is not None, "pictures are kept only if that is asked for"
        picture: Screen = self._last_two.max(axis=0)
        return picture

    def sound(self) -> Samples:
        """What is heard while the last frame is seen: unsigned samples, 128 is silence; uint8 of shape (512,)."""
        if self.episode_frames == 0:
            # A reset leaves in ALE what was heard before it, or zeros.
            return np.full(SAMPLES, 128, np.uint8)
        return np.asarray(self._ale.getAudio())

    @property
    def screen_size(self) -> tuple[int, int]:
        """(height, width) of the picture in pixels."""
        height, width = self._ale.getScreenDims()
        return int(height), int(width)

    @property
    def screen_fps(self) -> float:
        """Frames a second on the ROM's own console: ale-py gives 250 lines to PAL ROMs and to no others."""
        return PAL_SCREEN_FPS if self.screen_size[0] == _PAL_LINES else SCREEN_FPS

    @property
    def lives(self) -> int:
        """Lives left; 0 in games that count none."""
        return int(self._ale.lives())

    @property
    def episode_frames(self) -> int:
        """Frames emulated since the episode's start."""
        return int(self._ale.getEpisodeFrameNumber())


@cache
def action_names(settings: GameSettings) -> tuple[str, ...]:
    """ALE's names of a game's actions, in order: one emulator tells all that ask, for a ROM takes 80 ms to load."""
    return Emulator(settings).action_names


def make_env(settings: GameSettings, obs_type: str = "ram", render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Gymnasium's own environment for the same game: ale-py's `AtariEnv`.

    Args:
        settings: the game.
        obs_type: `ram`, `rgb` or `grayscale`.
        render_mode: `rgb_array`, `human` or none.
    """
    _quiet()
    return gymnasium.make(
        _base_id(settings),
        obs_type=obs_type,
        render_mode=render_mode,
        frameskip=settings.frame_skip,
        repeat_action_probability=settings.repeat_action_probability,
        full_action_space=settings.full_action_space,
        mode=settings.mode,
        difficulty=settings.difficulty,
        max_num_frames_per_episode=settings.max_episode_frames,
    )


def ram_of(env: gymnasium.Env[Any, Any]) -> Ram:
    """The RAM behind one of Gymnasium's environments, whatever it shows: a copy, uint8 of shape (128,).

    Raises:
        UnknownGameError: the environment is not ale-py's.
    """
    emulator = getattr(env.unwrapped, "ale", None)
    if not isinstance(emulator, ale_py.ALEInterface):
        raise UnknownGameError(f"{env} has no Atari RAM: use an environment of ale-py, e.g. ALE/Pong-v5")
    return np.asarray(emulator.getRAM())


def _base_id(settings: GameSettings) -> str:
    """An id that ale-py registers for the same ROM; what differs is passed on top of it."""
    for name in environment_ids():
        if gymnasium.spec(name).kwargs["game"] == settings.rom:
            return name
    raise UnknownGameError(f"ale-py {ale_version()} has no environment of the ROM {settings.rom!r}")
