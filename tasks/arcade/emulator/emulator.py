"""The emulator: drives ale-py directly, step for step equal to `gymnasium.make(..., obs_type="ram")`.

For the same seed and actions an `Emulator` gives the RAM, rewards and episode ends of Gymnasium's `AtariEnv`
(ale-py 0.12). Training and recording build it from the same settings; recording also reads the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import ale_py
import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.environment_ids import UnknownEnvironmentError, rom_path
from tasks.arcade.settings.game import GameSettings

RAM_SIZE = 128
NTSC_FPS = 60 * 0.99867
"""Frame rate of an NTSC console: 3.579545 MHz / 3 clock, 76 cycles per line, 262 lines."""
PAL_FPS = 3_546_894 / 3 / 76 / 312
"""Frame rate of a PAL console, about 49.86."""
_PAL_LINES = 250

Ram = npt.NDArray[np.uint8]
Screen = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.uint8]

SAMPLES_PER_FRAME = 512
"""Audio samples per frame on every console: the sample rate follows the frame rate."""


@dataclass(frozen=True)
class EpisodeStart:
    """State of an emulator right after a reset, the only point at which ALE's state is complete.

    Attributes:
        state: ALE's own serialization, including its random generator.
        skip_generator: State of the generator that draws random frame skips (NumPy's PCG64).
        frame: The first `Emulator.pooled_frame`, which ALE's state does not contain; empty without frame pooling.
    """

    state: bytes
    skip_generator: dict[str, Any]
    frame: bytes = b""


@dataclass(frozen=True)
class Snapshot:
    """State of an emulator without sticky actions at any frame.

    Not complete with sticky actions: ALE's state lacks the last action, which may be repeated.
    """

    state: ale_py.ALEState

    def serialized(self) -> bytes:
        """Return ALE's own serialization, which is equal for equal states."""
        return bytes(self.state.serialize())


def silence_ale() -> None:
    """Suppress the banner that ALE writes to standard error for every emulator."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


class Emulator:
    """An Atari 2600 built from settings alone.

    Args:
        settings: Emulator settings.
        seed: Seed of the first reset, if known: it avoids loading the ROM twice, which takes 80 ms.
        ram: Array to hold the RAM, uint8 of shape (128,) (default: a new array).
        sound: Whether to enable `sound`; it does not affect the RAM.

    Attributes:
        n_actions: Number of actions; an action is an index 0 <= a < n_actions.
        action_names: ALE's names of the actions, in order.
        ram: RAM after the last reset or step, uint8 of shape (128,). Overwritten at every step: copy it to keep it.
    """

    def __init__(
        self, settings: GameSettings, seed: int | None = None, ram: Ram | None = None, sound: bool = False
    ) -> None:
        self.settings = settings
        silence_ale()
        self._ale = ale_py.ALEInterface()
        self._ale.setBool("sound_obs", sound)
        self._ale.setFloat("repeat_action_probability", settings.repeat_action_probability)
        self._ale.setInt("max_num_frames_per_episode", settings.max_episode_frames)
        self._skip_generator = np.random.default_rng()
        self._load(seed)
        self._loaded_seed = seed
        legal = self._ale.getLegalActionSet() if settings.full_action_space else self._ale.getMinimalActionSet()
        self._actions = [int(action.value) for action in legal]
        self.action_names = tuple(action.name for action in legal)
        self.n_actions = len(self._actions)
        self.ram: Ram = np.zeros(RAM_SIZE, np.uint8) if ram is None else ram
        self._last_two: Screen | None = None

    def _load(self, seed: int | None) -> None:
        # Same as AtariEnv.seed_game: one seed for both the frame-skip generator and the emulator's own.
        skip_seed, ale_seed = np.random.SeedSequence(seed).generate_state(2)
        self._skip_generator = np.random.default_rng(int(skip_seed))
        self._ale.setInt("random_seed", int(ale_seed.astype(np.int32)))
        self._ale.loadROM(rom_path(self.settings.rom))
        if self.settings.mode is not None:
            self._check("mode", self.settings.mode, self._ale.getAvailableModes())
            self._ale.setMode(self.settings.mode)
        if self.settings.difficulty is not None:
            self._check("difficulty", self.settings.difficulty, self._ale.getAvailableDifficulties())
            self._ale.setDifficulty(self.settings.difficulty)

    def _check(self, name: str, value: int, available: list[int]) -> None:
        if value not in available:
            values = ", ".join(map(str, available))
            raise UnknownEnvironmentError(f"{self.settings.env_id} has no {name} {value}. Available: {values}")

    def reset(self, seed: int | None = None) -> Ram:
        """Start an episode; a seed also reseeds the emulator's generators, which continue otherwise."""
        if seed is not None and seed != self._loaded_seed:
            self._load(seed)
        self._loaded_seed = None
        self._ale.reset_game()
        self._ale.getRAM(self.ram)
        if self._last_two is not None:
            self._last_two[:] = self._ale.getScreenGrayscale()
        return self.ram

    def step(self, action: int, on_frame: Callable[[], object] | None = None) -> tuple[float, bool, bool]:
        """Run one step of `frame_skip` frames.

        Args:
            action: Index of the action.
            on_frame: Called after every emulated frame, e.g. to read the screen; it does not affect the game.

        Returns:
            (reward, terminated, truncated); the reward is unclipped and summed over the frames.
        """
        ale, code = self._ale, self._actions[action]
        skip = self.settings.frame_skip
        frames = skip if isinstance(skip, int) else int(self._skip_generator.integers(*skip))
        reward = 0
        for left in reversed(range(frames)):
            before = ale.getEpisodeFrameNumber() if on_frame else 0
            reward += ale.act(code)
            # After the end of an episode ALE emulates no further frames.
            if on_frame and ale.getEpisodeFrameNumber() != before:
                on_frame()
            if left < 2 and self._last_two is not None:
                self._last_two[0] = self._last_two[1]
                ale.getScreenGrayscale(self._last_two[1])
        ale.getRAM(self.ram)
        return float(reward), ale.game_over(with_truncation=False), ale.game_truncated()

    def episode_start(self) -> EpisodeStart:
        """Return the emulator's state; valid only right after `reset`, before any step."""
        state = self._ale.cloneState(include_rng=True).serialize()
        frame = b"" if self._last_two is None else self._last_two[1].tobytes()
        return EpisodeStart(state, dict(self._skip_generator.bit_generator.state), frame)

    def restore(self, start: EpisodeStart) -> Ram:
        """Restore the start of an episode of this emulator or of another one with the same settings.

        Raises:
            ValueError: Frame pooling is enabled and `start` holds no frame of this game.
        """
        self._loaded_seed = None
        self._ale.reset_game()
        self._ale.restoreState(ale_py.ALEState(start.state))
        self._skip_generator.bit_generator.state = start.skip_generator
        self._ale.getRAM(self.ram)
        if self._last_two is not None:
            self._last_two[:] = np.frombuffer(start.frame, np.uint8).reshape(self.screen_size)
        return self.ram

    def snapshot(self, include_rng: bool = True) -> Snapshot:
        """Return a snapshot of the current state.

        Args:
            include_rng: Whether it contains ALE's random generator, which advances with every frame.
        """
        return Snapshot(self._ale.cloneState(include_rng=include_rng))

    def restore_snapshot(self, snapshot: Snapshot) -> Ram:
        """Restore a snapshot of this emulator; a snapshot can be restored any number of times."""
        self._ale.restoreState(snapshot.state)
        self._ale.getRAM(self.ram)
        return self.ram

    def write_ram_byte(self, byte: int, value: int) -> None:
        """Overwrite one byte of the RAM, 0 to 127, without the game's involvement."""
        self._ale.setRAM(byte, value)
        self.ram[byte] = value

    def read_ram(self, into: Ram) -> Ram:
        """Write the RAM after the last frame, also within a step, into `into`: uint8 of shape (128,)."""
        self._ale.getRAM(into)
        return into

    def screen(self, into: Screen | None = None) -> Screen:
        """Return the last frame: uint8 of shape (height, width, 3), RGB; written into `into` if given."""
        if into is None:
            return np.asarray(self._ale.getScreenRGB())
        self._ale.getScreenRGB(into)
        return into

    def screen_indices(self, into: Screen) -> Screen:
        """Write the last frame as indices of the console's palette into `into`: uint8 of shape (height, width).

        Thirty times faster than `screen`, which returns the colors.
        """
        self._ale.getScreen(into)
        return into

    def enable_frame_pooling(self) -> None:
        """Keep the last two frames for `pooled_frame`, from the next reset on; it does not affect the RAM."""
        self._last_two = np.zeros((2, *self.screen_size), np.uint8)

    def pooled_frame(self) -> Screen:
        """Return the pixelwise maximum of a step's last two frames in grayscale: uint8 of shape (height, width).

        Max-pooling shows objects that a game draws on every second frame only. After a reset it is the first frame.
        """
        assert self._last_two is not None, "call enable_frame_pooling first"
        frame: Screen = self._last_two.max(axis=0)
        return frame

    def sound(self) -> Samples:
        """Return the audio of the last frame: unsigned samples, 128 is silence; uint8 of shape (512,)."""
        if self.episode_frames == 0:
            # After a reset ALE still holds the audio of the frame before it, or zeros.
            return np.full(SAMPLES_PER_FRAME, 128, np.uint8)
        return np.asarray(self._ale.getAudio())

    @property
    def screen_size(self) -> tuple[int, int]:
        """(height, width) of the screen in pixels."""
        height, width = self._ale.getScreenDims()
        return int(height), int(width)

    @property
    def screen_fps(self) -> float:
        """Frame rate of the ROM's console; ale-py gives PAL ROMs, and only them, 250 lines."""
        return PAL_FPS if self.screen_size[0] == _PAL_LINES else NTSC_FPS

    @property
    def lives(self) -> int:
        """Remaining lives; 0 in games without lives."""
        return int(self._ale.lives())

    @property
    def episode_frames(self) -> int:
        """Frames emulated since the reset."""
        return int(self._ale.getEpisodeFrameNumber())


@cache
def action_names(settings: GameSettings) -> tuple[str, ...]:
    """Return ALE's names of a game's actions, in order; cached, since loading a ROM takes 80 ms."""
    return Emulator(settings).action_names
