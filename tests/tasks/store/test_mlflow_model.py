"""MLflow's own client loads and serves checkpoints: it knows nothing of ramreel but what the model's files say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from helpers.episodes import network_checkpoint, observed, play_checkpoint, readouts
from helpers.servers import Server, free_port, running
from mlflow.exceptions import MlflowException
from mlflow.models import get_model_info

from tasks.arcade.checkpoints.checkpoint import Checkpoint, read_checkpoint, read_description, write_checkpoint
from tasks.store import ChampionRegistry, Store, StoredCheckpoint, open_store

Start = Callable[..., str]
FILES = ["MLmodel", "input_example.json", "model.py", "requirements.txt", "serving_input_example.json"]
CHECKPOINT_FILES = ["checkpoint.json", "features.safetensors", "manifest.json", "policy.safetensors"]


def save(store: Store, start: Start, checkpoint: Checkpoint, folder: Path) -> StoredCheckpoint:
    """Save a checkpoint in a new run."""
    digest, settings = write_checkpoint(checkpoint, folder), checkpoint.settings
    run_id = start(store, settings, "served")
    store.save_checkpoint(run_id, checkpoint.step, folder, digest, description=read_description(folder))
    return store.list_checkpoints(run_id)[0]


@pytest.fixture(params=["embedded", "server"])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that is MLflow's tracking store, as its users set it."""
    name = {"embedded": "store", "server": "server_store"}[request.param]
    store: Store = request.getfixturevalue(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address.uri)
    return store


@pytest.mark.parametrize(
    ("name", "env_id"),
    [
        ("ppo-tuned", "ALE/Freeway-v5"),
        ("dqn", "ALE/Asterix-v5"),
        ("ppo-pixels", "ALE/Seaquest-v5"),
        ("recurrent-ppo", "ALE/Enduro-v5"),
    ],
)
def test_champion_predicts_what_its_video_shows(
    any_store: Store, start: Start, name: str, env_id: str, tmp_path: Path
) -> None:
    checkpoint = network_checkpoint(env_id, name)
    stored = save(any_store, start, checkpoint, tmp_path / "checkpoint")
    registry = ChampionRegistry(any_store.address)
    registry.set_champion(registry.register(env_id, stored, "a contender"))
    trace = play_checkpoint(checkpoint)
    batch, shown = observed(checkpoint, trace), readouts(checkpoint, trace)
    registered = env_id.replace("/", "-")
    for uri in (
        f"models:/{registered}@champion",
        f"models:/{stored.model_id}",
        f"runs:/{stored.run_id}/step-000000010",
    ):
        found = mlflow.pyfunc.load_model(uri).predict(batch, params={"seed": trace.action_seed})
        assert tuple(found["action"]) == trace.actions
        assert found["value"].tolist() == [readout.value for readout in shown]
        if name != "dqn":
            assert found["probabilities"].tolist() == [readout.bar_lengths.tolist() for readout in shown]
        assert ("q_values" in found) == (name == "dqn")


def test_model_is_beside_the_checkpoint(store: Store, start: Start, tmp_path: Path) -> None:
    stored = save(store, start, network_checkpoint(), tmp_path / "checkpoint")
    fetched = store.fetch_checkpoint(stored, tmp_path / "fetched")
    assert sorted(path.name for path in fetched.iterdir()) == sorted([*FILES, *CHECKPOINT_FILES])
    for name in CHECKPOINT_FILES:
        assert (fetched / name).read_bytes() == (tmp_path / "checkpoint" / name).read_bytes()
    assert read_checkpoint(fetched, stored.digest).step == 10


def test_registered_model_describes_itself(any_store: Store, start: Start, tmp_path: Path) -> None:
    stored = save(any_store, start, network_checkpoint("ALE/Tennis-v5"), tmp_path / "checkpoint")
    registry = ChampionRegistry(any_store.address)
    registry.set_champion(registry.register("ALE/Tennis-v5", stored, "a contender"))
    info = get_model_info("models:/ALE-Tennis-v5@champion")
    assert info.signature is not None
    assert info.signature.to_dict() == {
        "inputs": '[{"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 2, 128]}}]',
        "outputs": '[{"name": "action", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}, '
        '{"name": "probabilities", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 18]}}, '
        '{"name": "value", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]',
        "params": '[{"name": "deterministic", "default": false, "shape": null, "type": "boolean"}, '
        '{"name": "seed", "default": null, "shape": null, "type": "long"}]',
    }
    assert info.metadata is not None
    assert info.metadata["action_names"][:2] == ["NOOP", "FIRE"]
    model = mlflow.pyfunc.load_model("models:/ALE-Tennis-v5@champion")
    assert model.input_example.shape == (1, 2, 128)
    assert model.predict(model.input_example)["probabilities"].shape == (1, 18)
    described = any_store._client.get_registered_model("ALE-Tennis-v5").description
    assert "models:/ALE-Tennis-v5@champion" in described
    tags = any_store._client.get_logged_model(stored.model_id).tags
    assert "after 10 steps" in tags["mlflow.note.content"]
    assert [version["name"] for version in json.loads(tags["mlflow.modelVersions"])] == ["ALE-Tennis-v5"]


def test_invalid_input_is_one_line(store: Store, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.address.uri)
    stored = save(store, start, network_checkpoint(name="recurrent-ppo"), tmp_path / "checkpoint")
    model = mlflow.pyfunc.load_model(f"models:/{stored.model_id}")
    with pytest.raises(MlflowException, match=r"recurrent-ppo is recurrent: .* row 0 does not follow"):
        model.predict(np.arange(256, dtype=np.uint8).reshape(1, 2, 128))
    with pytest.raises(MlflowException, match="seed must be at least 0"):
        model.predict(np.zeros((1, 2, 128), np.uint8), params={"seed": -1})
    with pytest.raises(MlflowException, match=r"does not match expected shape \(-1, 2, 128\)"):
        model.predict(np.zeros((1, 128), np.uint8))


def test_served_model_answers_bit_for_bit(
    store: Store, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = network_checkpoint()
    stored = save(store, start, checkpoint, tmp_path / "checkpoint")
    trace = play_checkpoint(checkpoint)
    with running(served(store, f"models:/{stored.model_id}", tmp_path)) as server:
        request = {"inputs": observed(checkpoint, trace).tolist(), "params": {"seed": trace.action_seed}}
        found = server.post("/invocations", request)["predictions"]
        example = json.loads((store.fetch_checkpoint(stored, tmp_path) / "serving_input_example.json").read_text())
        assert len(server.post("/invocations", example)["predictions"]["action"]) == 1
    assert tuple(found["action"]) == trace.actions
    shown = readouts(checkpoint, trace)
    assert found["probabilities"] == [readout.bar_lengths.tolist() for readout in shown]
    assert found["value"] == [readout.value for readout in shown]


def served(store: Store, uri: str, folder: Path) -> Server:
    """Return the server of `mlflow models serve`."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "-m", uri]
    environment = {
        "MLFLOW_TRACKING_URI": store.address.uri,
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        # It starts `uvicorn` by this name, as in an activated environment.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return Server([*command, "-p", str(port)], folder, f"http://127.0.0.1:{port}", "/ping", environment)


def test_missing_ramreel_is_said(store: Store, start: Start, tmp_path: Path) -> None:
    stored = save(store, start, network_checkpoint(), tmp_path / "checkpoint")
    folder = store.fetch_checkpoint(stored, tmp_path / "fetched")
    code = "import sys; sys.modules['tasks.arcade'] = None; import mlflow; mlflow.pyfunc.load_model(sys.argv[1])"
    environment = {**os.environ, "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert "this model needs ramreel where it is loaded" in done.stderr.splitlines()[-1]


def test_requirements_are_those_of_this_environment(store: Store, start: Start, tmp_path: Path) -> None:
    stored = save(store, start, network_checkpoint(), tmp_path / "checkpoint")
    folder = store.fetch_checkpoint(stored, tmp_path / "fetched")
    requirements: list[Any] = [line.split("==") for line in (folder / "requirements.txt").read_text().splitlines()]
    assert [name for name, _ in requirements] == sorted(name for name, _ in requirements)
    assert "://" not in "".join((folder / name).read_text() for name in ("requirements.txt", "model.py"))


def test_champion_of_a_moved_store_is_loaded(
    store: Store, home: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = network_checkpoint()
    stored = save(store, start, checkpoint, tmp_path / "checkpoint")
    registry = ChampionRegistry(store.address)
    registry.set_champion(registry.register("ALE/Pong-v5", stored, "a contender"))
    (home / "mlruns").rename(home / "moved")
    moved = open_store(f"sqlite:///{home}/moved/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", moved.address.uri)
    assert moved.exists(stored.run_id)
    trace = play_checkpoint(checkpoint)
    for uri in ("models:/ALE-Pong-v5@champion", f"runs:/{stored.run_id}/step-000000010"):
        found = mlflow.pyfunc.load_model(uri).predict(observed(checkpoint, trace), params={"seed": trace.action_seed})
        assert tuple(found["action"]) == trace.actions
