"""Zips of former versions of Stable-Baselines3 are read, and no zip runs code unless it is trusted."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sb3_zips import bomb, by_value, constant_fn, mlp_weights, pickled, write_zip
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.utils import FloatSchedule
from stable_baselines3.dqn.policies import DQNPolicy

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.learner import ExternalModel, read_sb3_zip
from tasks.arcade.settings.algorithms import A2cSettings, PpoSettings

BREAKOUT = resolve("BreakoutNoFrameskip-v4")


def read(path: Path, *, trust: bool = False) -> ExternalModel:
    return read_sb3_zip(path, BREAKOUT, "sb3", 0, trust=trust)


def torch_outputs(
    weights: dict[str, torch.Tensor], rams: np.ndarray, activation: Callable[..., torch.Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and values as Stable-Baselines3 computes them from 0 to 255."""

    def linear(name: str, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(inputs, weights[f"{name}.weight"], weights[f"{name}.bias"])

    inputs = torch.from_numpy(rams).float()
    if "mlp_extractor.shared_net.0.weight" in weights:
        inputs = activation(linear("mlp_extractor.shared_net.0", inputs))
    logits = linear("action_net", activation(linear("mlp_extractor.policy_net.0", inputs)))
    return logits.numpy(), linear("value_net", activation(linear("mlp_extractor.value_net.0", inputs)))[:, 0].numpy()


@pytest.mark.parametrize(
    ("shared", "kwargs", "activation"),
    [(0, {}, torch.tanh), (16, {}, torch.tanh), (0, {"activation_fn": torch.nn.ReLU, "ortho_init": False}, torch.relu)],
)
def test_a_policy_of_version_1_plays_as_it_did(
    shared: int, kwargs: dict[str, object], activation: Callable[..., torch.Tensor], tmp_path: Path
) -> None:
    weights = mlp_weights(shared=shared)
    found = read(write_zip(tmp_path / "ppo.zip", weights, policy_kwargs=pickled(kwargs) if kwargs else {}))
    assert (found.reason, found.steps, found.log.notes, found.log.seed) == ("", 1_000_448, (), 1648070233)
    assert found.checkpoint is not None
    algorithm = found.checkpoint.settings.approach.algorithm
    assert isinstance(algorithm, PpoSettings)
    assert (algorithm.learning_rate, algorithm.clip_range, algorithm.n_epochs) == ("lin_0.00025_0", 0.1, 20)
    agent = found.checkpoint.agent()
    rams = np.random.default_rng(0).integers(0, 256, (50, 128), np.uint8)
    features = agent.features(rams, rams)
    logits, values = torch_outputs(weights, rams, activation)
    np.testing.assert_allclose(agent.policy.logits(features), logits, atol=1e-4)
    np.testing.assert_allclose(agent.policy.values(features), values, atol=1e-4)


def test_values_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    damaged = pickled(b"\x80\x04not a pickle")
    found = read(write_zip(tmp_path / "a.zip", observation_space=damaged, learning_rate=damaged, _last_obs=damaged))
    assert found.checkpoint is not None
    assert "learning_rate" not in found.parameters
    assert found.log.notes == (
        "left out: learning_rate; --trust unpickles them, which can run code of the zip",
        "its observation space cannot be read: its 128 inputs are taken to be the bytes of RAM",
    )
    trusted = read(tmp_path / "a.zip", trust=True)
    assert trusted.log.notes[0] == "left out: learning_rate; they cannot be unpickled here"


def test_a_schedule_of_ones_own_is_read_only_if_the_zip_is_trusted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", learning_rate=pickled(lambda progress: 0.5 * progress))
    found = read(path)
    assert "learning_rate" not in found.parameters
    assert found.log.notes == ("left out: learning_rate; --trust unpickles them, which can run code of the zip",)
    trusted = read(path, trust=True)
    assert (trusted.parameters["learning_rate"], trusted.log.notes) == ("lin_0.5_0", ())


NAMES = [
    "policy_class",
    "policy_kwargs",
    "observation_space",
    "action_space",
    "learning_rate",
    "clip_range",
    "_last_obs",
]


@pytest.mark.parametrize("name", NAMES)
def test_no_pickle_runs_code(name: str, tmp_path: Path) -> None:
    exploded = tmp_path / "exploded"
    path = write_zip(tmp_path / "a.zip", **{name: pickled(bomb(exploded))})
    read(path)
    assert not exploded.exists()
    if name == "learning_rate":
        read(path, trust=True)
        assert not exploded.exists(), "its value is read as something else than a function, so that it is not unpickled"


def test_weights_that_run_code_are_not_loaded(tmp_path: Path) -> None:
    exploded = tmp_path / "exploded"
    for trust in (False, True):
        found = read(write_zip(tmp_path / "a.zip", bomb(exploded)), trust=trust)
        assert found.checkpoint is None
        assert found.reason.startswith("its weights cannot be read: ")
        assert "\n" not in found.reason
        assert found.parameters["gamma"] == "0.98"
        assert not exploded.exists()


def with_memo(index: int) -> bytes:
    return b"\x80\x04N" + pickle.LONG_BINPUT + index.to_bytes(4, "little") + b"."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"policy_class": pickled(DQNPolicy)}, "its policy is a DQNPolicy: only MlpPolicy of PPO or A2C is supported"),
        ({"policy_class": pickled(with_memo(2**31))}, "its policy is a class that cannot be read: only MlpPolicy"),
        ({"policy_kwargs": pickled(b"\x80\x04?")}, "its policy_kwargs cannot be read, and with them its activation"),
        (
            {"policy_kwargs": pickled({"features_extractor_class": NatureCNN})},
            "its policy has the features extractor NatureCNN: only MlpPolicy on plain RAM is supported",
        ),
        (
            {"_last_obs": pickled(np.zeros((8, 128), np.float32))},
            "it observed RAM as f4 instead of bytes: the statistics of VecNormalize are not in the zip",
        ),
        ({"clip_range": None}, "its algorithm is neither PPO nor A2C, but for example TRPO"),
    ],
    ids=["dqn", "memo", "kwargs", "extractor", "normalized", "trpo"],
)
def test_other_policies_are_not_played_and_their_hyperparameters_are_kept(
    changes: dict[str, object], reason: str, tmp_path: Path
) -> None:
    found = read(write_zip(tmp_path / "a.zip", **changes))
    assert found.checkpoint is None
    assert found.reason.startswith(reason)
    assert found.parameters["gae_lambda"] == "0.8"


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (mlp_weights(inputs=512), "it observes 512 numbers of dtype u1, not the 128 bytes of RAM"),
        (mlp_weights(actions=6), "it has 6 actions, BreakoutNoFrameskip-v4 has 4"),
        (
            {**mlp_weights(), "action_net.bias": torch.tensor(0.0)},
            "it has 0 actions, BreakoutNoFrameskip-v4 has 4",
        ),
        ({**mlp_weights(), "log_std": torch.zeros(4)}, "its policy has weights that no MlpPolicy has: log_std"),
    ],
)
def test_the_weights_tell_inputs_and_actions(weights: dict[str, torch.Tensor], reason: str, tmp_path: Path) -> None:
    assert read(write_zip(tmp_path / "a.zip", weights)).reason == reason


def test_schedules_without_a_value_are_left_out(tmp_path: Path) -> None:
    within_itself = FloatSchedule(0.1)
    within_itself.value_schedule = within_itself
    too_large = by_value(constant_fn(10**400), "stable_baselines3.common.utils")
    path = write_zip(tmp_path / "a.zip", learning_rate=pickled(within_itself), clip_range=pickled(too_large))
    found = read(path)
    assert found.checkpoint is not None
    assert not {"learning_rate", "clip_range"} & found.parameters.keys()


def test_floats_of_ram_are_not_taken_for_bytes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(parts["data"])
    raw = base64.b64decode(data["observation_space"][":serialized:"])
    data["observation_space"][":serialized:"] = base64.b64encode(raw.replace(b"u1", b"f4", 1)).decode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in (parts | {"data": json.dumps(data).encode()}).items():
            archive.writestr(name, part)
    path.write_bytes(file.getvalue())
    assert read(path).reason == "it observes 128 numbers of dtype f4, not the 128 bytes of RAM"


def test_an_a2c_of_version_1_is_read(tmp_path: Path) -> None:
    schedule = pickled(by_value(constant_fn(7e-4), "stable_baselines3.common.utils"))
    a2c = {"clip_range": None, "batch_size": None, "n_epochs": None, "learning_rate": schedule}
    found = read(write_zip(tmp_path / "a.zip", **a2c, policy_class=pickled(ActorCriticPolicy)))
    assert found.checkpoint is not None
    algorithm = found.checkpoint.settings.approach.algorithm
    assert isinstance(algorithm, A2cSettings)
    assert algorithm.learning_rate == 7e-4
