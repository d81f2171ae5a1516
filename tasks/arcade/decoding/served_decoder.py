"""A decoder as a function of the screens of an episode, as model servers call it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.decoder import DecodedEpisode, Decoder, DecoderError
from tasks.arcade.decoding.sources import Floats
from tasks.arcade.emulator.emulator import RAM_SIZE, Emulator
from tasks.arcade.settings.game import GameSettings

Screens = npt.NDArray[np.uint8]
"""Screens of one episode from its start, uint8 of shape (n, height, width, 3), RGB."""


def decode_screens(decoder: Decoder, screens: Screens) -> tuple[npt.NDArray[np.uint8], Floats]:
    """Return the RAM at each screen and the probability of each byte: shape (n, 128) each.

    Raises:
        DecoderError: The screens have another shape, size or palette.
    """
    if screens.dtype != np.uint8 or screens.ndim != 4 or not len(screens):
        raise DecoderError(f"screens must be uint8 of shape (n, height, width, 3), got {screens.dtype} {screens.shape}")
    episode = DecodedEpisode(decoder)
    rams = np.empty((len(screens), RAM_SIZE), np.uint8)
    confidence = np.empty((len(screens), RAM_SIZE), np.float32)
    for number, screen in enumerate(screens):
        estimate = episode.step(screen) if number else episode.reset(screen)
        rams[number], confidence[number] = estimate.ram, estimate.confidence
    return rams, confidence


def example_batch(game: GameSettings) -> Screens:
    """Return the screen at the start of an episode as a batch of one."""
    emulator = Emulator(game, 0)
    emulator.reset(0)
    return emulator.screen()[None].copy()
