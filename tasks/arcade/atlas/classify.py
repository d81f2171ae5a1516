"""Each state's vote on each byte: what it does there when it alone is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from tasks.arcade.atlas.perturb import Evidence, Study
from tasks.arcade.emulator.emulator import RAM_SIZE

MOVES = 0.6
"""Share of the changed pixels that lie in lines where things only moved."""
_GROWS, _APPEARS = 0.7, 0.95
"""Share of a movement that a straight line explains: of things that are cut off, of things that were not there."""
_STEADY = 0.4
"""How alike in size the changes are where a thing appears; those of a bar that grows are not."""
_LEAST_SPAN = 4.0
"""Pixels: what a byte moves less is a wobble; what goes four times as far need not follow a line."""
_OFTEN = 0.3
"""Share of the states in which a byte has to be seen to move something: a thing may be away, or cut off."""
FEW = 5
"""States: fewer say nothing."""

Votes = npt.NDArray[np.int64]
"""Of shape (states, 128)."""


class Vote(IntEnum):
    """What changing a byte does in one state; `X` and `Y` move something along that axis."""

    UNSEEN = 0
    X = 1
    Y = 2
    SCREEN = 3
    LOOK = 4


AXES = (Vote.X, Vote.Y)


@dataclass(frozen=True)
class Found:
    """All plays together: `Evidence`, the states' RAM, the heat, (height, width) of the picture."""

    evidence: Evidence
    rams: npt.NDArray[np.uint8]
    heat: npt.NDArray[np.float32]
    size: tuple[int, int]


def together(studies: Sequence[Study]) -> Found:
    """What several plays of one game came to."""
    parts = [one.evidence for one in studies]
    joined = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Evidence)}
    heat = np.sum([one.heat for one in studies], axis=0)
    return Found(
        Evidence(**joined), np.concatenate([one.rams for one in studies]), heat, (heat.shape[1], heat.shape[2])
    )


def vote(evidence: Evidence) -> Votes:
    """What each state says of each byte."""
    kept, fit, span = evidence.conserved, evidence.fit, evidence.span
    votes = np.where(evidence.visible, Vote.LOOK, Vote.UNSEEN)
    votes[evidence.visible & np.isnan(evidence.box[..., 0])] = Vote.SCREEN
    for axis, way in enumerate(AXES):
        other = 1 - axis
        far = span[..., axis] >= 4 * _LEAST_SPAN
        goes = far | (span[..., axis] >= _LEAST_SPAN) & (fit[..., axis] >= 0.5)
        moved = (kept[..., axis] >= MOVES) & (kept[..., axis] > kept[..., other]) & goes
        still = (fit[..., other] < 0.5) | (span[..., other] < np.maximum(_LEAST_SPAN, span[..., axis] / 3))
        alone = (kept.max(axis=2) < MOVES) & (span[..., axis] >= 2 * _LEAST_SPAN) & still
        # At the edge of the screen a thing is cut off: it seems to grow.
        cut_off = alone & (fit[..., axis] >= _GROWS) & (moved.sum(axis=0) >= 0.25 * evidence.visible.sum(axis=0))
        appears = alone & (fit[..., axis] >= _APPEARS) & (evidence.steady >= _STEADY) & far
        votes[moved | cut_off | appears] = way
    return votes


def moving_bytes(votes: Votes) -> dict[int, int]:
    """Axis of each byte that moves something."""
    seen = np.maximum((votes != Vote.UNSEEN).sum(axis=0), 1)
    shares = np.stack([(votes == vote).sum(axis=0) / seen for vote in AXES])
    axes, best = shares.argmax(axis=0), shares.max(axis=0)
    enough = np.maximum((votes == Vote.X).sum(axis=0), (votes == Vote.Y).sum(axis=0)) >= FEW
    return {byte: int(axes[byte]) for byte in range(RAM_SIZE) if enough[byte] and best[byte] >= _OFTEN}
