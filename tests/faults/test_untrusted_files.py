"""Untrusted checkpoints, videos and traces are plain data within limits; invalid ones are refused in one line."""

from __future__ import annotations

import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.checkpoints import CHECKPOINT_FILES, forge_manifest, random_checkpoint
from helpers.episodes import random_play
from helpers.invalid_input import json_values, many_examples
from helpers.processes import ROOT
from helpers.scale import sized
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tasks.arcade.checkpoints.checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from tasks.arcade.checkpoints.training_state import Counters, TrainingState, read_state, write_state
from tasks.arcade.checkpoints.verified_folder import DamagedFolderError
from tasks.arcade.emulator.emulator import Emulator
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace
from tasks.arcade.episodes.verify import verify
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.embedded_trace import _BOX_TYPE, read_embedded_trace
from tasks.arcade.video.render import render_video
from tasks.store import Store, StoreError

OWNER = "0" * 64
STATE = ["manifest.json", "training.json", "optimizer.safetensors", "environments.safetensors", "playing.safetensors"]
Corruption = Callable[[Path], object]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Folder of a training state with two environments."""
    emulator = Emulator(resolve("ALE/Pong-v5"), 1)
    emulator.reset(1)
    generator = dict(np.random.default_rng(1).bit_generator.state)
    one = EnvironmentState(emulator.episode_start(), (0, 1, 2), generator)
    counters = Counters(
        step=512, n_updates=0, returns=(), pending={}, numpy_generator={}, torch_generator="", reward_scale={}
    )
    write_state(TrainingState(counters, {}, (one, one)), OWNER, tmp_path / "state")
    read_state(tmp_path / "state", OWNER)
    return tmp_path / "state"


@pytest.mark.parametrize("name", STATE)
def test_pickle_in_place_of_a_training_state_file_is_refused_without_being_loaded(
    name: str, state: Path, tmp_path: Path
) -> None:
    exploded = tmp_path / "exploded"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {exploded}",)

    (state / name).write_bytes(pickle.dumps(Bomb()))
    if name != "manifest.json":
        forge_manifest(state)
    with pytest.raises(DamagedFolderError):
        read_state(state, OWNER)
    assert not exploded.exists()


@pytest.mark.parametrize("name", STATE)
def test_flipped_bit_in_a_training_state_is_detected(name: str, state: Path) -> None:
    # The manifest itself is not hashed: a flipped bit in its whitespace changes no content.
    assert_flipped_bits_are_detected(state / name, lambda: read_state(state, OWNER), unchanged=read_state(state, OWNER))


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_flipped_bit_in_a_checkpoint_is_detected(name: str, tmp_path: Path) -> None:
    digest = write_checkpoint(random_checkpoint(), tmp_path / "step")
    assert_flipped_bits_are_detected(tmp_path / "step" / name, lambda: read_checkpoint(tmp_path / "step", digest))


def assert_flipped_bits_are_detected(path: Path, read_again: Callable[[], object], unchanged: object = None) -> None:
    """Flip one bit at a time, in many bytes: each time reading raises, or returns the same value."""
    original = path.read_bytes()
    for at in np.random.default_rng(len(original)).integers(len(original), size=sized(20, 250)).tolist():
        path.write_bytes(original[:at] + bytes([original[at] ^ (1 << at % 8)]) + original[at + 1 :])
        try:
            found = read_again()
        except (DamagedFolderError, CheckpointError) as error:
            assert "\n" not in str(error)
        else:
            assert unchanged is not None
            assert str(found) == str(unchanged)
    path.write_bytes(original)
    read_again()


def edit(change: Callable[[dict[str, Any]], object]) -> Corruption:
    def corrupt(state: Path) -> None:
        path = state / "training.json"
        fields = json.loads(path.read_text())
        change(fields)
        path.write_text(json.dumps(fields))

    return corrupt


def with_array(name: str, array: np.ndarray[Any, Any] | None) -> Corruption:
    def corrupt(state: Path) -> None:
        path = state / "environments.safetensors"
        arrays = load_file(path)
        arrays.pop(name)
        save_file(arrays | ({} if array is None else {name: array}), path)

    return corrupt


@pytest.mark.parametrize(
    "corrupt",
    [
        with_array("1.start", None),
        with_array("0.actions", None),
        with_array("0.actions", np.zeros((3, 3), np.uint8)),
        with_array("0.actions", np.zeros(3, np.float32)),
        with_array("0.actions", np.full(3, 18, np.uint8)),
        with_array("0.actions", np.zeros(1_000_001, np.uint8)),
        with_array("0.start", np.zeros(4, np.float64)),
        with_array("0.start", np.zeros(2**20 + 1, np.uint8)),
        edit(lambda fields: fields["environments"].append(fields["environments"][0])),
        edit(lambda fields: fields["environments"][0].update(skip_generator={"bit_generator": "MT19937"})),
        edit(lambda fields: fields["environments"][0].update(action_generator={})),
        edit(lambda fields: fields["environments"][0]["action_generator"].update(state={"state": -1, "inc": 1})),
        edit(lambda fields: fields["counters"].update(step=-1)),
        edit(lambda fields: fields.update(counters=[])),
        lambda state: (state / "training.json").write_text("[" * 100_000),
    ],
)
def test_invalid_training_state_is_refused_in_one_line(corrupt: Corruption, state: Path) -> None:
    corrupt(state)
    forge_manifest(state)
    with pytest.raises(DamagedFolderError, match=r"^[^\n]{10,300}$"):
        read_state(state, OWNER)


def test_deeply_nested_manifest_is_refused(state: Path) -> None:
    (state / "manifest.json").write_text('{"files":' * 100_000)
    with pytest.raises(DamagedFolderError, match=r"manifest\.json is damaged"):
        read_state(state, OWNER)


TRACE = random_play("ALE/Breakout-v5", 30)
FIELDS = TRACE.model_dump(mode="json")
PLACES = [(key,) for key in FIELDS] + [("game", key) for key in FIELDS["game"]]


@many_examples
@given(places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=3), replacements=st.lists(json_values, min_size=3))
def test_trace_with_invalid_fields_is_refused_or_does_not_verify(
    places: list[tuple[str, ...]], replacements: list[Any], tmp_path: Path
) -> None:
    fields = json.loads(json.dumps(FIELDS))
    # Nested fields first: their parent may be replaced afterwards.
    for (*inside, key), value in zip(sorted(places, key=len, reverse=True), replacements, strict=False):
        (fields["game"] if inside else fields)[key] = value
    path = tmp_path / "trace.json"
    path.write_text(json.dumps(fields))
    try:
        trace = read_trace(path)
    except TraceError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 500
        return
    proof = verify(trace)
    assert proof.ok or proof.message
    assert "\n" not in proof.message
    if proof.ok:
        assert played(trace) == played(TRACE), "no replaced field decides the episode"


def played(trace: Trace) -> tuple[object, ...]:
    return trace.actions, trace.rewards, trace.digests, trace.frames, trace.ram_digest


@many_examples
@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace"))))
def test_bytes_that_are_not_a_trace_are_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(raw)
    with pytest.raises(TraceError, match=r"^[^\n]{10,500}$"):
        read_trace(path)


def sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def with_embedded_trace(path: Path, content: bytes) -> Path:
    """Render a video and replace the content of its embedded trace."""
    render_video(TRACE, path, sound=False)
    mark, _ = read_embedded_trace(path)
    raw = path.read_bytes()
    place = raw.rindex(_BOX_TYPE) - 8
    assert mark.trace == TRACE
    path.write_bytes(raw[:place] + struct.pack(">I4s", 24 + len(content), b"uuid") + _BOX_TYPE + content)
    return path


def with_embedded_fields(path: Path, **changes: object) -> Path:
    render_video(TRACE, path, sound=False)
    fields = read_embedded_trace(path)[0].model_dump(mode="json", by_alias=True)
    return with_embedded_trace(path, zlib.compress(json.dumps(fields | changes).encode()))


BOMBS: dict[str, Callable[[Path], Path]] = {
    "trace of 40 GB": lambda folder: sparse(folder / "x.json", b'{"actions": [', 40 * 1024**3),
    "trace of 10^9 steps": lambda folder: write(folder / "x.json", FIELDS | {"length": 10**9, "frames": 10**9}),
    "deeply nested trace": lambda folder: write(folder / "x.json", "[" * 10**6),
    "trace of the largest allowed size": lambda folder: write(
        folder / "x.json", f'{{"actions": [{"0," * (31 * 2**20)}0]}}'
    ),
    "episode of 10^12 frames": lambda folder: write(
        folder / "x.json", FIELDS | {"game": FIELDS["game"] | {"max_episode_frames": 10**12}}
    ),
    "zip bomb embedded in a video": lambda folder: with_embedded_trace(
        folder / "x.mp4", zlib.compress(bytes(2**28), 9)
    ),
    "video with a huge declared size": lambda folder: with_embedded_fields(folder / "x.mp4", width=2**31, height=2**31),
    "video with an odd declared width": lambda folder: with_embedded_fields(folder / "x.mp4", width=641),
    "video that is a playlist of URLs": lambda folder: write(
        folder / "x.mp4", "xxxxftyp#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    ),
}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * 1024**3, 4 * 1024**3))


@pytest.mark.parametrize("bomb", BOMBS)
def test_oversized_input_is_refused_within_limits_of_memory_and_time(bomb: str, tmp_path: Path) -> None:
    path = BOMBS[bomb](tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "flows", "verify", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit_memory,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.startswith("ramreel: ")
    assert done.stderr.count("\n") == 1


def test_video_with_another_declared_size_does_not_verify(tmp_path: Path) -> None:
    from tasks.runs.verify import verify_file

    proof = verify_file(with_embedded_fields(tmp_path / "x.mp4", width=642))
    assert not proof.ok
    assert "\n" not in proof.reason


@pytest.mark.parametrize("name", ["videos/step-000000512.mp4", "reports", "settings.json"])
def test_link_out_of_the_store_is_not_followed(
    name: str, store: Store, settings: RunSettings, start: Callable[..., str], tmp_path: Path
) -> None:
    run_id = start(store, settings)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    assert store.address.artifacts is not None
    (folder,) = store.address.artifacts.glob(f"*/{run_id}/artifacts")
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside if name == "reports" else outside / "secret")
    path = f"{name}/secret" if name == "reports" else name
    with pytest.raises(StoreError, match="leads out of the run"):
        store.fetch_artifact(run_id, path, tmp_path / "fetched")


@many_examples
@given(names=st.tuples(st.text(max_size=60), st.text(max_size=60)))
def test_artifacts_stay_in_the_store_for_any_name(
    names: tuple[str, str], store: Store, settings: RunSettings, tmp_path: Path
) -> None:
    name, experiment = names
    before = set(tmp_path.iterdir())
    try:
        run_id = store.start_run(
            settings, name=name, command=name, versions={}, commit=None, experiment=experiment or None
        )
    except StoreError as error:
        assert "\n" not in str(error)
        return
    assert store.address.artifacts is not None
    settings_file = Path(store.artifact_uri(run_id, "settings.json").removeprefix("file://"))
    assert settings_file.resolve().is_relative_to(store.address.artifacts.resolve())
    assert settings_file.is_file()
    assert set(tmp_path.iterdir()) == before
