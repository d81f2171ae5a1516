"""A checkpoint is read intact, or rejected with an error of one line."""

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.checkpoints import CHECKPOINT_FILES, forge_manifest, random_checkpoint
from safetensors.numpy import load_file, save_file

from tasks.arcade.checkpoints.checkpoint import CheckpointError, read_checkpoint, write_checkpoint


@pytest.mark.parametrize("name", ["ppo", "ppo-tuned", "recurrent-ppo", "dqn", "qrdqn", "random"])
def test_a_written_checkpoint_reads_back_equal_and_decides_equally(name: str, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(name)
    digest = write_checkpoint(checkpoint, tmp_path / "step")
    again = read_checkpoint(tmp_path / "step", digest)
    assert again.settings == checkpoint.settings
    assert (again.step, again.action_names) == (checkpoint.step, checkpoint.action_names)
    assert again.weights.keys() == checkpoint.weights.keys()
    assert all((again.weights[key] == checkpoint.weights[key]).all() for key in again.weights)
    rams = np.random.default_rng(1).integers(256, size=(40, 2, 128), dtype=np.uint8)
    one, other = checkpoint.agent().start_episode(), again.agent().start_episode()
    decisions = [(one(*pair, 0.37), other(*pair, 0.37)) for pair in rams]
    assert all(first == second for first, second in decisions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step"], "no temporary folder remains"


def test_the_same_checkpoint_has_the_same_digest(tmp_path: Path) -> None:
    assert write_checkpoint(random_checkpoint(), tmp_path / "a") == write_checkpoint(
        random_checkpoint(), tmp_path / "b"
    )
    assert write_checkpoint(random_checkpoint(step=5), tmp_path / "c") != write_checkpoint(
        random_checkpoint(), tmp_path / "d"
    )


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_flipped_byte_anywhere_is_detected(name: str, tmp_path: Path) -> None:
    digest = write_checkpoint(random_checkpoint(), tmp_path / "step-000004096")
    path = tmp_path / "step-000004096" / name
    whole = path.read_bytes()
    for at in sorted({0, len(whole) // 3, len(whole) // 2, len(whole) - 1}):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match=r"^checkpoint step-000004096: .*(damaged|digest)"):
            read_checkpoint(path.parent, digest)
    path.write_bytes(whole)
    read_checkpoint(path.parent, digest)


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_truncated_or_missing_file_is_named(name: str, tmp_path: Path) -> None:
    write_checkpoint(random_checkpoint(), tmp_path / "step")
    path = tmp_path / "step" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(tmp_path / "step")
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        read_checkpoint(tmp_path / "step")


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_a_pickle_in_place_of_any_file_is_rejected_without_running(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {marker}",)

    write_checkpoint(random_checkpoint(), tmp_path / "step")
    path = tmp_path / "step" / name
    path.write_bytes(pickle.dumps(Bomb()))
    if name != "manifest.json":
        forge_manifest(path.parent)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "step")
    assert not marker.exists()


def test_a_newer_schema_and_a_foreign_manifest_are_rejected(tmp_path: Path) -> None:
    write_checkpoint(random_checkpoint(), tmp_path / "step")
    path = tmp_path / "step" / "manifest.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(fields | {"schema": 99}))
    with pytest.raises(CheckpointError, match=r"schema 99.*update ramreel"):
        read_checkpoint(tmp_path / "step")
    path.write_text(json.dumps({"hello": "world"}))
    with pytest.raises(CheckpointError, match="is invalid"):
        read_checkpoint(tmp_path / "step")
    path.write_text(json.dumps(fields | {"files": {"../../../etc/passwd": "0"}}))
    with pytest.raises(CheckpointError, match="lists"):
        read_checkpoint(tmp_path / "step")


def test_invalid_contents_give_one_line_that_names_the_file(tmp_path: Path) -> None:
    write_checkpoint(random_checkpoint(), tmp_path / "step")
    description, policy = tmp_path / "step" / "checkpoint.json", tmp_path / "step" / "policy.safetensors"
    whole = description.read_text()
    fields = json.loads(whole)
    fields["settings"]["game"]["speed"] = 3
    description.write_text(json.dumps(fields))
    forge_manifest(tmp_path / "step")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "step")
    assert str(caught.value) == (
        "checkpoint step: checkpoint.json is invalid: settings.game.speed: Extra inputs are not permitted"
    )
    description.write_text(whole.replace('"rom": "pong"', '"rom": "no_such_rom"'))
    forge_manifest(tmp_path / "step")
    with pytest.raises(CheckpointError, match=r"^checkpoint step: ale-py \S+ has no ROM 'no_such_rom'"):
        read_checkpoint(tmp_path / "step")
    description.write_text(whole)
    policy.write_bytes(b"no safetensors")
    forge_manifest(tmp_path / "step")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "step")
    assert re.fullmatch(r"checkpoint step: policy\.safetensors is invalid: [^\n]+", str(caught.value))
    assert str(caught.value).count("invalid") == 1


@pytest.mark.parametrize(("dtype", "shape"), [("BF16", [0]), ("F8_E4M3", [0]), ("F32", [0, 2**63]), ("F32", [0] * 99)])
@pytest.mark.parametrize("name", ["policy.safetensors", "features.safetensors"])
def test_arrays_that_numpy_cannot_represent_are_rejected(
    name: str, dtype: str, shape: list[int], tmp_path: Path
) -> None:
    write_checkpoint(random_checkpoint(), tmp_path / "step")
    header = json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": [0, 0]}}).encode()
    (tmp_path / "step" / name).write_bytes(len(header).to_bytes(8, "little") + header)
    forge_manifest(tmp_path / "step")
    with pytest.raises(CheckpointError, match=rf"^checkpoint step: {name} is invalid: [^\n]+$") as caught:
        read_checkpoint(tmp_path / "step")
    assert dtype == "F32" or dtype in str(caught.value)


@pytest.mark.parametrize("name", ["ppo-tuned", "recurrent-ppo", "dqn", "qrdqn"])
def test_weights_for_another_number_of_actions_are_rejected(name: str, tmp_path: Path) -> None:
    write_checkpoint(random_checkpoint(name), tmp_path / "step")
    path = tmp_path / "step" / "checkpoint.json"
    fields = json.loads(path.read_text())
    fields["action_names"] = fields["action_names"][:4]
    path.write_text(json.dumps(fields))
    forge_manifest(path.parent)
    with pytest.raises(CheckpointError, match="the network has 6 actions, the game has 4"):
        read_checkpoint(tmp_path / "step")


@pytest.mark.parametrize(
    ("approach", "name", "array", "reason"),
    [
        ("ppo-tuned", "count", np.array([np.inf]), "do not have the expected arrays: count"),
        ("ppo-tuned", "moving_bytes", np.full(128, np.inf), "do not have the expected arrays: moving_bytes"),
        ("ppo-tuned", "total", np.zeros(128, np.complex64), "do not have the expected arrays: total"),
        ("ppo-embeddings", "values", np.array([0.5]), "values are not different pairs of a byte and a value"),
        ("ppo-tuned", "action_net.bias", np.array(0, np.float32), r"do not match the network: action_net\.bias"),
        ("ppo-tuned", "action_net.bias", np.zeros(6, np.complex64), r"do not match the network: action_net\.bias"),
        ("dqn", "q_net.q_net.6.bias", np.array(0, np.float32), r"do not match the network: q_net\.q_net\.6\.bias"),
        ("dqn", "q_net.q_net.6.bias", np.zeros(0, np.float32), r"do not match the network: q_net\.q_net\.6\.bias"),
    ],
)
def test_arrays_of_another_type_or_rank_are_rejected(
    approach: str, name: str, array: np.ndarray[Any, Any], reason: str, tmp_path: Path
) -> None:
    write_checkpoint(random_checkpoint(approach), tmp_path / "step")
    file = tmp_path / "step" / ("policy.safetensors" if "." in name else "features.safetensors")
    arrays = load_file(file)
    assert name in arrays
    save_file(arrays | {name: array}, file)
    forge_manifest(tmp_path / "step")
    with pytest.raises(CheckpointError, match=rf"^checkpoint step: its contents are invalid: [^\n]*{reason}$"):
        read_checkpoint(tmp_path / "step")


def test_a_network_without_actions_is_rejected(tmp_path: Path) -> None:
    write_checkpoint(random_checkpoint("dqn"), tmp_path / "step")
    file = tmp_path / "step" / "policy.safetensors"
    save_file({name: array[:0] if len(array) == 6 else array for name, array in load_file(file).items()}, file)
    forge_manifest(tmp_path / "step")
    with pytest.raises(CheckpointError, match="weights do not match the network"):
        read_checkpoint(tmp_path / "step")


def test_a_failed_write_leaves_no_partial_folder(tmp_path: Path) -> None:
    occupied = tmp_path / "step"
    occupied.mkdir()
    (occupied / "something").touch()
    with pytest.raises(OSError, match="step"):
        write_checkpoint(random_checkpoint(), occupied)
    assert [path.name for path in tmp_path.iterdir()] == ["step"]
