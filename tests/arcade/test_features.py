import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.arcade.features import Features, Statistics, feature_size
from tasks.arcade.settings import FeatureSettings

RAMS = arrays(np.uint8, st.tuples(st.integers(1, 40), st.just(128)))


@given(RAMS)
def test_statistics_are_those_of_numpy(rams: np.ndarray) -> None:
    statistics = Statistics.empty().updated(rams)
    assert np.allclose(statistics.mean, rams.mean(axis=0))
    assert np.allclose(statistics.deviation, np.maximum(rams.std(axis=0), 0.05))


@given(RAMS, st.randoms(use_true_random=False))
def test_statistics_do_not_depend_on_the_order_or_on_how_steps_are_shared_out(rams: np.ndarray, random) -> None:
    order = list(range(len(rams)))
    random.shuffle(order)
    cut = random.randint(0, len(rams))
    whole = Statistics.empty().updated(rams)
    parts = Statistics.empty().updated(rams[order[:cut]]).updated(rams[order[cut:]])
    assert (whole.total == parts.total).all()
    assert (whole.squares == parts.squares).all()
    assert whole.count == parts.count


def test_statistics_survive_being_written_as_arrays() -> None:
    statistics = Statistics.empty().updated(np.arange(256, dtype=np.uint8).reshape(2, 128))
    again = Statistics.from_arrays(statistics.arrays())
    assert (again.deviation == statistics.deviation).all()
    with pytest.raises(ValueError, match="two sums of 128 bytes"):
        Statistics.from_arrays({"count": np.array([1])})


def test_standardised_features_on_a_hand_made_case() -> None:
    rams = np.zeros((2, 128), np.uint8)
    rams[:, 0] = [10, 30]
    statistics = Statistics.empty().updated(rams)
    features = Features(FeatureSettings(kind="standardised", clip=3, difference_scale=4), statistics)
    before = rams.copy()
    before[0, 1], before[1, 2] = 255, 8
    out = features(rams, before)
    assert out.shape == (2, 256) == (2, features.size)
    assert out[:, 0].tolist() == [-1, 1], "mean 20, deviation 10"
    assert out[0, 129] == 0.25, "255 to 0 is a step of plus one"
    assert out[1, 130] == -2, "8 to 0, divided by 4"
    assert np.abs(out).max() <= 3


def test_bits_and_scaled_features() -> None:
    ram = np.full((1, 128), 255, np.uint8)
    before = np.zeros((1, 128), np.uint8)
    bits = Features(FeatureSettings(kind="bits"), Statistics.empty())(ram, before)
    assert bits.shape == (1, 2048)
    assert bits[0, :1024].all()
    assert not bits[0, 1024:].any()
    scaled = Features(FeatureSettings(kind="scaled"), Statistics.empty())(ram, before)
    assert scaled.shape == (1, 128)
    assert np.allclose(scaled, 1)


@pytest.mark.parametrize("kind", ["scaled", "standardised", "bits"])
def test_a_row_is_the_same_alone_as_among_others(kind: str) -> None:
    rams = np.random.default_rng(0).integers(256, size=(17, 128), dtype=np.uint8)
    before = np.random.default_rng(1).integers(256, size=(17, 128), dtype=np.uint8)
    settings = FeatureSettings(kind=kind)
    features = Features(settings, Statistics.empty().updated(rams))
    together = features(rams, before)
    assert together.dtype == np.float32
    assert together.shape == (17, feature_size(settings))
    for row in range(17):
        assert (features(rams[row : row + 1], before[row : row + 1]) == together[row]).all()
