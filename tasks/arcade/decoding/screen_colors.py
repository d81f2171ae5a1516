"""Colors of an emulator's screen, fast: its palette indices, and the colors that earlier screens had for them."""

from __future__ import annotations

import numpy as np

from tasks.arcade.decoding.picture_features import PackedScreen, pack_colors
from tasks.arcade.emulator.emulator import Emulator, Screen


class ScreenColors:
    """Palette of a console, which ALE does not expose: the first screen with a color tells it.

    Attributes:
        palette: Color of every palette index as 0xRRGGBB, -1 if no screen had it so far: int32 of shape (256,).
        n_known: Number of known colors.
    """

    def __init__(self) -> None:
        self.palette: PackedScreen = np.full(256, -1, np.int32)
        self.n_known = 0
        self._indices: Screen = np.zeros((0, 0), np.uint8)

    def indices(self, emulator: Emulator) -> Screen:
        """Return the screen as palette indices: uint8 of shape (height, width), overwritten by the next call."""
        if self._indices.shape != emulator.screen_size:
            self._indices = np.zeros(emulator.screen_size, np.uint8)
        return emulator.screen_indices(self._indices)

    def learn(self, emulator: Emulator) -> None:
        """Learn the colors of the screen that `indices` returned last."""
        if self.palette.take(self._indices).min() < 0:
            self.palette[self._indices] = pack_colors(emulator.screen())
            self.n_known = int(np.count_nonzero(self.palette >= 0))

    def packed(self, emulator: Emulator) -> PackedScreen:
        """Return the screen as 0xRRGGBB: int32 of shape (height, width)."""
        colors = self.palette.take(self.indices(emulator))
        if colors.min() < 0:
            self.learn(emulator)
            colors = self.palette.take(self._indices)
        return colors
