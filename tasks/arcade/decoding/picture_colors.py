"""The colors of a game that its decoder tells apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.arcade.decoding.pairs import Pairs
from tasks.arcade.decoding.picture_features import MAX_COLORS

_SURVEY = 1000
"""Pictures that are looked at."""


def choose_colors(pairs: Pairs, rows: npt.NDArray[np.intp]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the colors that are told apart and the others, each beginning with that of the most pictures.

    If there are too many, those whose pixels change most often are told apart: a sunset that never changes has more
    colors than all the fish below it.

    Args:
        pairs: The pairs.
        rows: Those whose pictures are looked at, about a thousand of them: indices, ascending.

    Returns:
        Two tuples of 0xRRGGBB; the first has at most `MAX_COLORS`.
    """
    shown, changed = np.zeros(256, np.int64), np.zeros(256, np.int64)
    place = np.arange(pairs.size[0] * pairs.size[1])
    before: npt.NDArray[np.float64] = np.zeros((2, 256))
    for row in rows[:: max(1, len(rows) // _SURVEY)]:
        picture = pairs.picture(row).ravel()
        pixels = np.array([np.bincount(picture, weights, 256) for weights in (None, place)], np.float64)
        shown += pixels[0] > 0
        changed += (pixels != before).any(axis=0)
        before = pixels
    order = np.argsort(-shown, kind="stable")
    order = np.concatenate([order[shown[order] > 0], np.flatnonzero((pairs.palette >= 0) & (shown == 0))])
    apart = np.sort(np.argsort(-changed[order], kind="stable")[:MAX_COLORS])
    colors = pairs.palette[order].tolist()
    # Several indices of the palette may have one color.
    chosen = tuple(dict.fromkeys(colors[index] for index in apart))
    return chosen, tuple(dict.fromkeys(color for color in colors if color not in chosen))
