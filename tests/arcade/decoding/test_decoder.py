"""A decoder reads RAM from pictures alone, and says how sure it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from helpers.checkpoints import forge_manifest
from helpers.decoders import ram_of, small_decoder
from safetensors.numpy import load_file, save_file

from tasks.arcade.decoding.decoder import DecodedEpisode, Decoder, DecoderError, read_decoder, write_decoder
from tasks.arcade.decoding.fit import fit_decoder, split_by_episode
from tasks.arcade.decoding.fit_network import fit_network
from tasks.arcade.decoding.pairs import gather_pairs, join_pairs
from tasks.arcade.decoding.picture_colors import choose_colors
from tasks.arcade.decoding.picture_features import MAX_COLORS
from tasks.arcade.decoding.report import DecodingReport, measure_decoder, summarize
from tasks.arcade.decoding.served_decoder import decode_screens
from tasks.arcade.decoding.wrapper import RamFromPixels
from tasks.arcade.emulator.emulator import Emulator, silence_ale
from tasks.arcade.emulator.environment_ids import resolve

PLAYER_X = 72


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return small_decoder()[0]


@pytest.fixture(scope="module")
def report(decoder: Decoder) -> DecodingReport:
    _, pairs, split = small_decoder()
    return measure_decoder(decoder, pairs, split, ("random",), 1.0)


def breakout(**kwargs: Any) -> gymnasium.Env[Any, Any]:
    silence_ale()
    return gymnasium.make("ALE/Breakout-v5", obs_type="rgb", **kwargs)


def test_what_is_drawn_is_decoded_in_episodes_of_its_own(report: DecodingReport) -> None:
    player = report.bytes[PLAYER_X]
    assert player.label == "player_x"
    assert player.accuracy > 0.9 > player.majority
    assert report.bytes[90].method == "counted", "no picture shows this counter"
    assert report.bytes[90].accuracy > 0.9
    assert report.test_pairs > 300
    assert any("bytes vary" in line for line in summarize(report))
    assert DecodingReport.model_validate_json(report.model_dump_json()) == report


def test_confidence_is_calibrated(report: DecodingReport) -> None:
    figures = report.figures()
    assert figures["claimed_accuracy"] > 0.95
    assert figures["calibration_error"] < 0.15, "of six hundred pairs"


def test_colors_that_move_are_told_apart() -> None:
    """Seaquest's picture always has more colors than are told apart: those of the sunset."""
    pairs = gather_pairs(resolve("ALE/Seaquest-v5"), [], 400, seed=1)
    colors, others = choose_colors(pairs, np.arange(len(pairs)))
    submarine, shark, sunset = 0xBBBB35, 0x5CBA5C, 0xB55328
    assert len(colors) == MAX_COLORS
    assert {submarine, shark} <= set(colors)
    assert sunset in others
    assert not set(colors) & set(others)


def test_same_seed_trains_the_same_decoder(tmp_path: Path) -> None:
    game = resolve("ALE/Breakout-v5").model_copy(update={"max_episode_frames": 160})
    parts = [gather_pairs(game, [], 160, seed) for seed in (1, 2)]
    pairs = join_pairs(parts)
    split = split_by_episode(pairs.episodes, 0)
    assert not set(pairs.episodes[split.train]) & set(pairs.episodes[split.test])
    digests = [
        write_decoder(fit_decoder(game, pairs, split, epochs=1, seed=0, log=lambda _: None), tmp_path / name)
        for name in "ab"
    ]
    assert digests[0] == digests[1]
    with pytest.raises(DecoderError, match="2 episodes are too few"):
        split_by_episode(np.array([0, 0, 1]), 0)


def test_decoder_is_plain_data_and_reads_back(decoder: Decoder, tmp_path: Path) -> None:
    folder = tmp_path / "decoder"
    digest = write_decoder(decoder, folder)
    _, pairs, split = small_decoder()
    screens = np.stack([pairs.screen(int(row)) for row in split.test[:20]])
    for before, after in zip(
        decode_screens(decoder, screens), decode_screens(read_decoder(folder, digest), screens), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".json", ".safetensors"]
    path = folder / "decoder.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DecoderError, match=r"decoder\.safetensors is damaged"):
        read_decoder(folder)
    forge_manifest(folder)
    with pytest.raises(DecoderError, match=r"decoder\.safetensors is invalid"):
        read_decoder(folder)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("columns", lambda array: array + 20_000),
        ("columns", lambda array: array.astype(np.float32)),
        ("trees.feature", lambda array: array + 20_000),
        ("trees.feature", lambda array: np.array(0, np.int32)),
        ("trees.roots", lambda array: array + 1),
        ("trees.roots", lambda array: array[:-1]),
        ("trees.children", np.zeros_like),
        ("trees.children", lambda array: np.full_like(array, len(array) - 1)),
        ("trees.values", lambda array: array + np.uint8(200)),
        ("trees.shares", lambda array: array[:, :-1]),
        ("trees.owners", lambda array: array + np.int16(200)),
        (f"{PLAYER_X}.calibration", lambda array: array[:, :0]),
        (f"{PLAYER_X}.prior", lambda array: array[:-1]),
        (f"{PLAYER_X}.start", lambda array: array.astype(np.complex64)),
    ],
)
def test_arrays_that_do_not_fit_together_are_rejected(name: str, change: Any, decoder: Decoder, tmp_path: Path) -> None:
    write_decoder(decoder, tmp_path / "decoder")
    path = tmp_path / "decoder" / "decoder.safetensors"
    arrays = load_file(path)
    save_file(arrays | {name: change(arrays[name])}, path)
    forge_manifest(path.parent)
    with pytest.raises(DecoderError, match=r"^decoder decoder: its contents are invalid: [^\n]+$"):
        read_decoder(path.parent)


def test_network_of_another_size_is_rejected() -> None:
    rng = np.random.default_rng(0)
    features, targets = rng.integers(256, size=(2, 40, 5), dtype=np.uint8), rng.integers(2, size=(40, 2))
    network = fit_network(*features, targets, [2, 3], epochs=1, seed=0, on_epoch=lambda *_: None)
    network.check(n_features=5, n_outputs=5)
    with pytest.raises(
        ValueError, match=r"network\.mean is float32 of shape \(5,\) instead of float32 of shape \(6,\)"
    ):
        network.check(n_features=6, n_outputs=5)
    with pytest.raises(ValueError, match=r"network\.norms is float32"):
        replace(network, norms=network.norms[:-1]).check(n_features=5, n_outputs=5)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields["bytes"].reverse(),
        lambda fields: fields["bytes"][0].update(values=[256]),
        lambda fields: fields["bytes"][PLAYER_X].update(source="network"),
        lambda fields: fields.update(colors=[]),
        lambda fields: fields.update(other_colors=[1 << 24]),
        lambda fields: fields.update(size=[10**6, 10**6]),
    ],
)
def test_invalid_description_is_rejected(change: Any, decoder: Decoder, tmp_path: Path) -> None:
    write_decoder(decoder, tmp_path / "decoder")
    path = tmp_path / "decoder" / "decoder.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    forge_manifest(path.parent)
    with pytest.raises(DecoderError, match=r"^decoder decoder: its contents are invalid: [^\n]+$"):
        read_decoder(path.parent)


def test_wrapper_decodes_without_ram_and_rom(decoder: Decoder, tmp_path: Path) -> None:
    folder = tmp_path / "decoder"
    write_decoder(decoder, folder)
    env = RamFromPixels(breakout(), method="decode", decoder=folder)
    ram, info = env.reset(seed=7)
    assert info["ram_methods"][0] in decoder.methods
    assert not info["ram_lost"]
    right, rng, action = [], np.random.default_rng(7), 0
    for _ in range(150):
        action = int(rng.integers(4)) if rng.random() < 0.5 else action
        ram, _, terminated, *_, info = env.step(action)
        right.append(ram[PLAYER_X] == ram_of(env)[PLAYER_X])
        if terminated:
            env.reset()
    assert ram.shape == (128,) == info["ram_confidence"].shape
    assert np.mean(right) > 0.8
    assert "counted" in info["ram_methods"]


class OnePixel(gymnasium.ObservationWrapper[Any, Any, Any]):
    """A pixel of another color in some steps: no state of the emulator shows it."""

    step_number = 0

    def observation(self, observation: Any) -> Any:
        self.step_number += 1
        if 20 <= self.step_number < 30:
            observation = observation.copy()
            observation[0, 0] = 255
        return observation


def test_lost_follower_decodes_until_it_has_found_itself_again(decoder: Decoder) -> None:
    env = RamFromPixels(OnePixel(breakout()), decoder=decoder)
    _, info = env.reset(seed=3)
    assert set(info["ram_methods"]) == {"followed"}
    for number in range(2, 40):
        ram, *_, info = env.step(1 if number < 5 else number % 4)
        lost = 20 <= number < 30
        assert info["ram_lost"] == lost
        assert info["ram_lost_steps"] == (number - 19 if lost else 0)
        assert info["ram_methods"] == (decoder.methods if lost else ("followed",) * 128)
        assert info["ram_confidence"].max() > 0.9
        assert ram[PLAYER_X] == ram_of(env)[PLAYER_X] or lost
        if not lost:
            sure = info["ram_confidence"] > 0.99
            assert np.array_equal(ram[sure], ram_of(env)[sure])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda decoder: RamFromPixels(breakout(), method="decode"), "decode needs a decoder of ALE/Breakout-v5"),
        (
            lambda decoder: RamFromPixels(gymnasium.make("ALE/Pong-v5", obs_type="rgb"), decoder=decoder),
            "trained on ALE/Breakout-v5 with rom breakout, but ALE/Pong-v5 has pong",
        ),
        (
            lambda decoder: RamFromPixels(breakout(frameskip=2), method="decode", decoder=decoder),
            "with frame skip 4, but ALE/Breakout-v5 has 2",
        ),
        (lambda decoder: RamFromPixels(breakout(), decoder="nosuch"), r"decoder nosuch: manifest\.json is missing"),
        (lambda decoder: decode_screens(decoder, np.zeros((1, 250, 160, 3), np.uint8)), r"shape \(250, 160, 3\)"),
        (lambda decoder: decode_screens(decoder, np.full((1, 210, 160, 3), 77, np.uint8)), "other colors than those"),
        (lambda decoder: decode_screens(decoder, np.zeros((210, 160, 3), np.uint8)), "screens must be uint8"),
    ],
)
def test_unfitting_input_is_rejected(decoder: Decoder, make: Any, message: str) -> None:
    with pytest.raises(DecoderError, match=message):
        make(decoder)


def test_reset_starts_a_new_episode(decoder: Decoder) -> None:
    """Counters count from the start again."""
    emulator, episode = Emulator(resolve("ALE/Breakout-v5"), 1), DecodedEpisode(decoder)
    emulator.reset(1)
    first = episode.reset(emulator.screen())
    for _ in range(3):
        emulator.step(0)
        episode.step(emulator.screen())
    emulator.reset()
    again = episode.reset(emulator.screen())
    np.testing.assert_array_equal(first.ram, again.ram)
