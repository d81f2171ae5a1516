"""Obtains the RAM of an episode from its screens: by a second emulator that follows them, or by a decoder."""

from __future__ import annotations

from tasks.arcade.decoding.decoder import DecodedEpisode, Decoder, DecoderError
from tasks.arcade.decoding.follower import Follower, RamEstimate
from tasks.arcade.emulator.emulator import RAM_SIZE, Ram, Screen
from tasks.arcade.settings.evaluation import PixelMethod
from tasks.arcade.settings.game import GameSettings

FOLLOWED, NEAREST = "followed", "nearest"
"""Method of a byte that the second emulator determines, and while it is lost without a decoder."""


class RamReader:
    """Reads the RAM of one environment from its screens, step by step.

    Args:
        settings: Emulator settings of the environment.
        method: `follow`: a second emulator follows screens and actions; a decoder takes over while it is lost.
            `decode`: the decoder reads the screens alone, without ROM and actions.
        decoder: The decoder; required by `decode`.

    Attributes:
        lost_steps: Number of steps for which no state of the second emulator has shown the screen.

    Raises:
        DecoderError: The decoder is missing, or of another game or frame skip.
    """

    def __init__(self, settings: GameSettings, method: PixelMethod, decoder: Decoder | None) -> None:
        if decoder is not None:
            check_decoder(decoder, settings)
        elif method == "decode":
            raise DecoderError(f"decode needs a decoder of {settings.env_id}: `ramreel decode` trains one")
        self._follower = Follower(settings) if method == "follow" else None
        self._decoder_methods = decoder.methods if decoder else (NEAREST,) * RAM_SIZE
        self._decoder_size = decoder.description.size if decoder else (0, 0)
        self._decoded = DecodedEpisode(decoder) if decoder else None
        self._known: tuple[Ram, Screen] | None = None
        self.lost_steps = 0

    @property
    def screen_shape(self) -> tuple[int, int, int]:
        """Shape of the screens: (height, width, 3)."""
        return self._follower.screen_shape if self._follower else (*self._decoder_size, 3)

    @property
    def n_actions(self) -> int | None:
        """Number of the environment's actions; None if they do not matter."""
        return self._follower.n_actions if self._follower else None

    @property
    def methods(self) -> tuple[str, ...]:
        """How each byte of the last estimate was obtained: `followed`, `nearest`, or the decoder's method."""
        return (FOLLOWED,) * RAM_SIZE if self._follower and not self.lost_steps else self._decoder_methods

    def reset(self, screen: Screen, reloaded: bool = True) -> RamEstimate:
        """Start an episode.

        Args:
            screen: Screen after the reset: uint8 of shape `screen_shape`, RGB.
            reloaded: Whether the environment loaded its ROM again, as Gymnasium's does when it is reset with a seed.

        Raises:
            DecoderError: The screen has another size or other colors than those of the decoder's game.
            UnknownEnvironmentError: It has other colors than the start of the game that the second emulator plays.
        """
        self.lost_steps, self._known = 0, None
        if self._follower is None:
            return self._decode(screen, start=True)
        return self._unless_lost(self._follower.reset(screen, reloaded), screen)

    def step(self, action: int, screen: Screen) -> RamEstimate:
        """Read the RAM after a step.

        Args:
            action: Index of the action that the environment was given.
            screen: Its screen after the step, likewise.
        """
        if self._follower is None:
            return self._decode(screen, start=False)
        return self._unless_lost(self._follower.step(action, screen), screen)

    def read(self, action: int | None, screen: Screen) -> Ram:
        """Return the RAM after a step, or at the start of an episode, whose action is None; see `step` and `reset`."""
        return (self.reset(screen) if action is None else self.step(action, screen)).ram

    def _unless_lost(self, estimate: RamEstimate, screen: Screen) -> RamEstimate:
        """Return the followed RAM, or the decoder's while the second emulator is lost."""
        if not estimate.lost:
            self.lost_steps, self._known = 0, (estimate.ram, screen)
            return estimate
        self.lost_steps += 1
        if self._decoded is None:
            return estimate
        if self.lost_steps == 1 and self._known is not None:
            self._decoded.resume(*self._known)
        decoded = self._decode(screen, start=self._known is None and self.lost_steps == 1)
        return RamEstimate(decoded.ram, decoded.confidence, lost=True, n_hypotheses=estimate.n_hypotheses)

    def _decode(self, screen: Screen, *, start: bool) -> RamEstimate:
        assert self._decoded is not None
        return self._decoded.reset(screen) if start else self._decoded.step(screen)


def check_decoder(decoder: Decoder, settings: GameSettings) -> None:
    """Check that a decoder is one of a game.

    Raises:
        DecoderError: It is of another game, frame skip, mode or difficulty.
    """
    own = decoder.description.game
    for name in ("rom", "frame_skip", "mode", "difficulty"):
        trained, wanted = getattr(own, name), getattr(settings, name)
        if trained != wanted:
            raise DecoderError(
                f"the decoder was trained on {own.env_id} with {name.replace('_', ' ')} {trained}, but "
                f"{settings.env_id} has {wanted}: choose a decoder of this game and these settings"
            )
