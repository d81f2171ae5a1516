"""Colors of the screens of a live view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.emulator.emulator import Emulator, Screen


class Palette:
    """Colors of the console's palette, learned from the screens that show them: ALE does not expose it.

    Attributes:
        rgb: uint8 of shape (256, 3).
    """

    def __init__(self) -> None:
        self.rgb: npt.NDArray[np.uint8] = np.zeros((256, 3), np.uint8)
        self._known = np.zeros(256, np.bool_)

    def learn(self, indices: Screen, emulator: Emulator) -> None:
        """Learn the colors of the emulator's current screen, given as indices."""
        if not self._known[indices].all():
            self.rgb[indices], self._known[indices] = emulator.screen(), True
