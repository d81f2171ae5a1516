from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features, feature_size
from tasks.arcade.settings.features import FeatureSettings

SINCE_0_2 = {"controlled_bytes", "position_bytes", "values", "warmup.seen"}
RAMS = arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(128)))


@given(RAMS)
def test_statistics_match_numpy(rams: np.ndarray) -> None:
    statistics = Statistics.empty().updated(rams)
    assert np.allclose(statistics.mean, rams.mean(axis=0))
    assert np.allclose(statistics.deviation, np.maximum(rams.std(axis=0), 0.05))


@pytest.mark.parametrize("steps", [10**6, 10**9, 10**10])
def test_deviation_is_exact_after_any_number_of_steps(steps: int) -> None:
    """Bytes that have their largest value in half of the steps and are 0 in the others."""
    top = np.arange(128) * 2 + 1
    statistics = replace(
        Statistics.empty().updated(np.zeros((1, 128), np.uint8)),
        count=steps, total=top * (steps // 2), squares=top * top * (steps // 2),
    )  # fmt: skip
    assert (statistics.deviation == top / 2).all()
    assert (statistics.mean == top / 2).all()


@given(RAMS, st.integers(1, 10**5))
def test_deviation_equals_64_bit_arithmetic_bit_for_bit(rams: np.ndarray, times: int) -> None:
    """Checkpoints and videos of earlier versions were made with 64-bit arithmetic."""
    one = Statistics.empty().updated(rams)
    statistics = replace(one, count=one.count * times, total=one.total * times, squares=one.squares * times)
    scaled = statistics.count * statistics.squares - statistics.total * statistics.total
    assert (statistics.deviation == np.maximum(np.sqrt(scaled) / statistics.count, 0.05)).all()


@given(RAMS, st.randoms(use_true_random=False))
def test_statistics_do_not_depend_on_order_or_partition(rams: np.ndarray, random) -> None:
    order = list(range(len(rams)))
    random.shuffle(order)
    cut = random.randint(0, len(rams))
    whole = Statistics.empty().updated(rams)
    parts = Statistics.empty().updated(rams[order[:cut]]).updated(rams[order[cut:]])
    assert (whole.total == parts.total).all()
    assert (whole.squares == parts.squares).all()
    assert whole.count == parts.count


def test_statistics_round_trip_through_arrays() -> None:
    statistics = Statistics.empty().updated(np.arange(256, dtype=np.uint8).reshape(2, 128))
    again = Statistics.from_arrays(statistics.arrays())
    assert (again.deviation == statistics.deviation).all()
    with pytest.raises(ValueError, match="do not have the expected arrays: moving_bytes"):
        Statistics.from_arrays({"count": np.array([1])})


def test_standardized_features_by_hand() -> None:
    rams = np.zeros((2, 128), np.uint8)
    rams[:, 0] = [10, 30]
    statistics = Statistics.empty().updated(rams)
    features = Features(FeatureSettings(kind="standardized", clip=3, difference_scale=4), statistics)
    before = rams.copy()
    before[0, 1], before[1, 2] = 255, 8
    out = features(rams, before)
    assert out.shape == (2, 256) == (2, features.size)
    assert out[:, 0].tolist() == [-1, 1], "mean 20, deviation 10"
    assert out[0, 129] == 0.25, "255 to 0 is a step of plus one"
    assert out[1, 130] == -2, "8 to 0, divided by 4"
    assert np.abs(out).max() <= 3


def test_bits_and_scaled_features_by_hand() -> None:
    ram = np.full((1, 128), 255, np.uint8)
    before = np.zeros((1, 128), np.uint8)
    bits = Features(FeatureSettings(kind="bits"), Statistics.empty())(ram, before)
    assert bits.shape == (1, 2048)
    assert bits[0, :1024].all()
    assert not bits[0, 1024:].any()
    scaled = Features(FeatureSettings(kind="scaled"), Statistics.empty())(ram, before)
    assert scaled.shape == (1, 128)
    assert np.allclose(scaled, 1)


@pytest.mark.parametrize("kind", ["scaled", "standardized", "bits"])
def test_features_do_not_depend_on_the_batch(kind: str) -> None:
    rams = np.random.default_rng(0).integers(256, size=(17, 128), dtype=np.uint8)
    before = np.random.default_rng(1).integers(256, size=(17, 128), dtype=np.uint8)
    settings = FeatureSettings(kind=kind)
    features = Features(settings, Statistics.empty().updated(rams))
    together = features(rams, before)
    assert together.dtype == np.float32
    assert together.shape == (17, feature_size(settings))
    for row in range(17):
        assert (features(rams[row : row + 1], before[row : row + 1]) == together[row]).all()


def a_made_up_game() -> tuple[np.ndarray, np.ndarray]:
    """Byte 0 follows the actions, byte 1 is a ball, byte 2 its copy, byte 3 a counter, byte 4 noise."""
    generator = np.random.default_rng(0)
    actions = generator.integers(3, size=(500, 4))
    rams = np.zeros((500, 4, 128), np.uint8)
    rams[:, :, 0] = 100 + np.cumsum(np.pad(4 * (actions - 1), ((1, 0), (0, 0)))[:-1], axis=0) % 100
    rams[:, :, 1] = rams[:, :, 2] = np.abs((7 * np.arange(500)[:, None] + 50 * np.arange(4)) % 200 - 100) + 50
    rams[:, :, 3] = np.arange(500)[:, None]
    rams[:, :, 4] = generator.integers(256, size=(500, 4))
    return rams, actions


def test_moving_bytes_are_smooth_and_controlled_ones_come_first() -> None:
    rams, actions = a_made_up_game()
    settings = FeatureSettings(kind="standardized", moving_bytes=4, gap_scales=(4, 16), warmup_steps=2000)
    statistics = Statistics.empty().with_rollout(rams[:250], actions[:250], settings)
    assert statistics.moving_bytes == (), "half of the warmup"
    statistics = statistics.with_rollout(rams[250:], actions[250:], settings)
    assert statistics.moving_bytes == (0, 1)


def rollouts_of_random_play(env_id: str, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return RAMs, uint8 of shape (steps, 1, 128), and actions, int64 of shape (steps, 1)."""
    emulator = Emulator(resolve(env_id))
    emulator.reset(0)
    actions = np.random.default_rng(0).integers(emulator.n_actions, size=(steps, 1))
    rams = np.empty((steps, 1, 128), np.uint8)
    for step, action in enumerate(actions[:, 0].tolist()):
        rams[step, 0] = emulator.ram
        if emulator.step(action)[1]:
            emulator.reset()
    return rams, actions


@pytest.mark.parametrize(
    ("env_id", "published"),
    [
        ("ALE/Pong-v5", {49, 54, 51}),  # ball x and y, the player's paddle; the other paddle lies in two bytes
        ("ALE/Breakout-v5", {99, 72}),  # ball x, paddle
        ("ALE/Boxing-v5", {32, 34, 33, 35}),  # both boxers, x and y
    ],
)
def test_moving_bytes_include_published_positions(env_id: str, published: set[int]) -> None:
    """Compare with the RAM maps of AtariARI (Anand et al. 2019)."""
    settings = FeatureSettings(kind="standardized", moving_bytes=8, warmup_steps=6000)
    rams, actions = rollouts_of_random_play(env_id, 6000)
    statistics = Statistics.empty().with_rollout(rams[:3000], actions[:3000], settings)
    assert statistics.moving_bytes == (), "not chosen before enough was seen"
    statistics = statistics.with_rollout(rams[3000:], actions[3000:], settings)
    assert published <= set(statistics.moving_bytes)
    later = statistics.with_rollout(rams[:100], actions[:100], settings)
    assert later.moving_bytes == statistics.moving_bytes, "chosen once"
    again = Statistics.from_arrays(later.arrays())
    assert again.moving_bytes == later.moving_bytes
    assert again.count == 6100


@pytest.mark.parametrize(
    ("env_id", "controlled", "positions"),
    [
        ("ALE/SpaceInvaders-v5", {28}, {26, 83, 84, 87}),  # the ship; x of the invaders, the bombs and the missile
        ("ALE/MsPacman-v5", {10, 16}, {6, 7, 8, 9, 12, 13, 14, 15}),  # x and y of Ms. Pac-Man and of the ghosts
        ("ALE/Breakout-v5", {72}, {99, 101}),  # the paddle; x and y of the ball
        ("ALE/Boxing-v5", {32, 34}, {33, 35}),  # x and y of both boxers
    ],
)
def test_controlled_and_position_bytes_include_published_positions(
    env_id: str, controlled: set[int], positions: set[int]
) -> None:
    """Compare with the RAM maps of AtariARI (Anand et al. 2019); the bombs are not in them."""
    settings = FeatureSettings(kind="standardized", moving_bytes=8, controlled_bytes=2, position_bytes=24)
    rams, actions = rollouts_of_random_play(env_id, 8192)
    statistics = Statistics.empty().with_rollout(rams, actions, settings)
    assert controlled <= set(statistics.controlled_bytes)
    assert positions <= set(statistics.position_bytes)
    assert not {90, 106} & set(statistics.position_bytes) or env_id != "ALE/SpaceInvaders-v5", "random generators"
    again = Statistics.from_arrays(statistics.arrays())
    assert (again.gap_pairs == statistics.gap_pairs).all()
    halves = Statistics.empty().with_rollout(rams[:4096], actions[:4096], settings)
    assert (halves.warmup.updated(rams[4096:], actions[4096:]).seen == statistics.warmup.seen).all()


def test_gaps_of_controlled_bytes_are_features_once() -> None:
    settings = FeatureSettings(
        kind="standardized", moving_bytes=2, controlled_bytes=1, position_bytes=3, gap_scales=(16.0,)
    )
    statistics = replace(Statistics.empty(), moving_bytes=(7, 3), controlled_bytes=(7,), position_bytes=(3, 7, 50))
    ram = np.zeros((1, 128), np.uint8)
    ram[0, [7, 3, 50]] = 32, 16, 40
    out = Features(settings, statistics)(ram, ram)
    assert statistics.gap_pairs.T.tolist() == [[7, 3], [7, 50]]
    assert out[0, 256:].tolist() == [1, -0.5, 0, 0], "7 minus 3, 7 minus 50, and two pairs that were not found"


def test_statistics_of_version_0_1_have_no_controlled_bytes() -> None:
    arrays = Statistics.empty().arrays()
    former = {name: array for name, array in arrays.items() if name not in SINCE_0_2}
    read = Statistics.from_arrays(former)
    assert read.controlled_bytes == read.position_bytes == ()
    assert len(read.values) == 0


def test_values_get_indices_in_order_of_their_first_appearance() -> None:
    settings = FeatureSettings(kind="standardized", value_indices=130)
    rams, actions = np.zeros((2, 1, 128), np.uint8), np.zeros((2, 1), np.int64)
    first = Statistics.empty().with_rollout(rams, actions, settings)
    rams[1, 0, [3, 5]] = 200, 9
    rams[0, 0, 7] = 1
    second = first.with_rollout(rams, actions, settings)
    assert second.values.tolist() == [*range(0, 128 * 256, 256), 3 * 256 + 200, 5 * 256 + 9], "byte 7 is one too many"
    out = Features(settings, second)(rams[1], rams[1])
    assert out.shape == (1, 256 + 128)
    assert out[0, 256:].tolist() == [*range(1, 4), 129, 5, 130, *range(7, 129)]
    assert Features(settings, second)(rams[0], rams[0])[0, 256 + 7] == 0
    assert (Statistics.from_arrays(second.arrays()).values == second.values).all()


def test_invalid_values_are_rejected() -> None:
    for values in ([5, 5], [-1], [128 * 256], [[1, 2]]):
        arrays = Statistics.empty().arrays() | {"values": np.array(values, np.int64)}
        with pytest.raises(ValueError, match="values are not different pairs of a byte and a value"):
            Statistics.from_arrays(arrays)
    statistics = replace(Statistics.empty(), values=np.arange(4))
    with pytest.raises(ValueError, match="the statistics have 4 values, the settings 3"):
        Features(FeatureSettings(kind="standardized", value_indices=3), statistics)


def test_invalid_statistics_are_rejected() -> None:
    statistics = replace(Statistics.empty(), moving_bytes=(3, 7))
    with pytest.raises(ValueError, match="the statistics have 2 moving bytes, the settings 1"):
        Features(FeatureSettings(kind="standardized", moving_bytes=1), statistics)
    arrays = statistics.arrays()
    arrays["moving_bytes"][0] = 128
    with pytest.raises(ValueError, match="moving byte 128 is out of range"):
        Statistics.from_arrays(arrays)
    seen = Statistics.empty().updated(np.full((4, 128), 9, np.uint8)).arrays()
    seen["total"][5] += 1
    with pytest.raises(ValueError, match="the variance of a byte would be negative"):
        Statistics.from_arrays(seen)


def test_gap_features_by_hand() -> None:
    settings = FeatureSettings(
        kind="standardized", moving_bytes=2, gap_scales=(4.0, 64.0), static_byte_gain=0.5, clip=3
    )
    statistics = replace(Statistics.empty().updated(np.zeros((1, 128), np.uint8)), moving_bytes=(7, 3))
    ram = np.zeros((1, 128), np.uint8)
    ram[0, 7], ram[0, 3], ram[0, 9] = 10, 50, 255
    out = Features(settings, statistics)(ram, ram)
    assert out.shape == (1, 258)
    assert out[0, 256:].tolist() == [-3, -0.625], "byte 7 minus byte 3: -40, divided by 4 and cut, and by 64"
    assert out[0, 9] == 1.5, "a byte that is no mover counts half"
    assert out[0, 3] == 3


def test_gap_sines_and_cosines_by_hand() -> None:
    """A quarter and half of a period; the unused third moving byte leaves zeros."""
    settings = FeatureSettings(kind="standardized", moving_bytes=3, gap_scales=(16.0,), gap_periods=(160.0, 80.0))
    statistics = replace(Statistics.empty().updated(np.zeros((1, 128), np.uint8)), moving_bytes=(7, 3))
    ram = np.zeros((1, 128), np.uint8)
    ram[0, 7], ram[0, 3] = 50, 10
    out = Features(settings, statistics)(ram, ram)
    assert out.shape == (1, 256 + 5 * 3)
    assert out[0, 256:] == pytest.approx([2.5, 1, 0, 0, -1, *[0] * 10], abs=1e-6)
    ram[0, 7], ram[0, 3] = 10, 50
    assert Features(settings, statistics)(ram, ram)[0, 256:261] == pytest.approx([-2.5, -1, 0, 0, -1], abs=1e-6)
