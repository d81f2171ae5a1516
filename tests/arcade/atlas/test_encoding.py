"""Encodings of bytes agree with the published RAM annotations, and with the rules on made-up values."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tasks.arcade.atlas.encoding import byte_encodings
from tasks.arcade.atlas.perturb import PerturbationSettings, Trajectory, perturb_play
from tasks.arcade.emulator.environment_ids import resolve

PUBLISHED = {
    # Anand et al. 2019: enemy_y 50, player_y 51, ball_x 49, ball_y 54.
    "Pong": {"number": (49, 50, 51, 54)},
    # Anand et al. 2019: player_x 28.
    "SpaceInvaders": {"bits": (43, 44, 46, 47, 49, 50), "number": (28,)},
    # Anand et al. 2019: player_x 10, player_y 16.
    "MsPacman": {"number": (10, 16)},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_encodings_are_those_of_published_annotations(name: str) -> None:
    game = resolve(f"ALE/{name}-v5")
    played = perturb_play(PerturbationSettings(game=game, seed=0, steps=6000, states=1))
    encodings = byte_encodings([played.trajectory])
    for encoding, published in PUBLISHED[name].items():
        assert [encodings[byte] for byte in published] == [encoding] * len(published)


def play(values: npt.ArrayLike, starts: tuple[int, ...] = (0,)) -> Trajectory:
    """Return play in which byte 0 has the given values."""
    rams = np.zeros((len(np.asarray(values)), 128), np.uint8)
    rams[:, 0] = values
    episode_starts = np.isin(np.arange(len(rams)), starts)
    return Trajectory(rams, np.zeros(len(rams)), np.zeros(len(rams), np.int64), episode_starts)


def test_each_rule_on_values_of_one_byte() -> None:
    cases = {
        "constant": np.full(50, 7),
        "counter": np.arange(50) * 251,
        "states": np.resize([1, 64, 200], 50),
        "number": 100 + np.cumsum(np.resize([1, 2, 1, -1, -2, 3], 50)),
        "bits": np.bitwise_xor.accumulate(np.resize([4, 8, 16, 32, 64, 128], 50)),
        "other": np.random.default_rng(0).integers(256, size=50),
    }
    for encoding, values in cases.items():
        assert byte_encodings([play(values % 256)])[0] == encoding


def test_a_reset_is_no_change() -> None:
    values = np.tile(np.arange(30) * 2, 3)
    assert byte_encodings([play(values, (0, 30, 60))])[0] == "counter"
    assert byte_encodings([play(np.repeat(np.arange(20), 2), tuple(range(0, 40, 2)))])[0] == "other"
