"""Checkpoints, videos and traces from a stranger: data only, within bounds; nonsense is refused in one line."""

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
from helpers.checkpoints import FILES, a_checkpoint, remake_manifest
from helpers.episodes import random_play
from helpers.invalid_input import many, values
from helpers.processes import ROOT
from helpers.scale import sized
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tasks.arcade.checkpoints.checkpoint import CheckpointError, read, write
from tasks.arcade.checkpoints.training_state import Counters, TrainingState, read_state, write_state
from tasks.arcade.checkpoints.verified_folder import DamagedError
from tasks.arcade.emulator.emulator import Emulator, resolve
from tasks.arcade.episodes.trace import Trace, TraceError, read_trace
from tasks.arcade.episodes.verify import verify
from tasks.arcade.rollouts.environment import EnvironmentState
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.embedded_trace import _TYPE, read_embedded_trace
from tasks.arcade.video.render import video
from tasks.store import Store, StoreError

OWNER = "0" * 64
STATE = ["manifest.json", "training.json", "optimizer.safetensors", "environments.safetensors", "playing.safetensors"]
Spoil = Callable[[Path], object]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What going on with a training needs, as one with two environments writes it."""
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
def test_a_pickle_in_the_place_of_any_file_of_a_training_is_refused_unexploded(
    name: str, state: Path, tmp_path: Path
) -> None:
    sign = tmp_path / "exploded"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {sign}",)

    (state / name).write_bytes(pickle.dumps(Bomb()))
    if name != "manifest.json":
        remake_manifest(state)
    with pytest.raises(DamagedError):
        read_state(state, OWNER)
    assert not sign.exists()


@pytest.mark.parametrize("name", STATE)
def test_a_flipped_byte_anywhere_in_a_training_is_found(name: str, state: Path) -> None:
    # The manifest's own whitespace and order are nobody's: what it says is what counts.
    flip_everywhere(state / name, lambda: read_state(state, OWNER), unharmed=read_state(state, OWNER))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_anywhere_in_a_checkpoint_is_found(name: str, tmp_path: Path) -> None:
    digest = write(a_checkpoint(), tmp_path / "step")
    flip_everywhere(tmp_path / "step" / name, lambda: read(tmp_path / "step", digest))


def flip_everywhere(path: Path, read_again: Callable[[], object], unharmed: object = None) -> None:
    """Flip a bit of a byte, of many, one after the other: reading is refused each time, or gives the very same."""
    whole = path.read_bytes()
    for at in np.random.default_rng(len(whole)).integers(len(whole), size=sized(20, 250)).tolist():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            found = read_again()
        except (DamagedError, CheckpointError) as error:
            assert "\n" not in str(error)
        else:
            assert unharmed is not None
            assert str(found) == str(unharmed)
    path.write_bytes(whole)
    read_again()


def edited(change: Callable[[dict[str, Any]], object]) -> Spoil:
    def spoil(state: Path) -> None:
        path = state / "training.json"
        fields = json.loads(path.read_text())
        change(fields)
        path.write_text(json.dumps(fields))

    return spoil


def with_array(name: str, array: np.ndarray[Any, Any] | None) -> Spoil:
    def spoil(state: Path) -> None:
        path = state / "environments.safetensors"
        arrays = load_file(path)
        arrays.pop(name)
        save_file(arrays | ({} if array is None else {name: array}), path)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        with_array("1.start", None),
        with_array("0.actions", None),
        with_array("0.actions", np.zeros((3, 3), np.uint8)),
        with_array("0.actions", np.zeros(3, np.float32)),
        with_array("0.actions", np.full(3, 18, np.uint8)),
        with_array("0.actions", np.zeros(1_000_001, np.uint8)),
        with_array("0.start", np.zeros(4, np.float64)),
        with_array("0.start", np.zeros(2**20 + 1, np.uint8)),
        edited(lambda fields: fields["environments"].append(fields["environments"][0])),
        edited(lambda fields: fields["environments"][0].update(skip_generator={"bit_generator": "MT19937"})),
        edited(lambda fields: fields["environments"][0].update(action_generator={})),
        edited(lambda fields: fields["environments"][0]["action_generator"].update(state={"state": -1, "inc": 1})),
        edited(lambda fields: fields["counters"].update(step=-1)),
        edited(lambda fields: fields.update(counters=[])),
        lambda state: (state / "training.json").write_text("[" * 100_000),
    ],
)
def test_a_training_that_makes_no_sense_is_refused_in_one_line(spoil: Spoil, state: Path) -> None:
    spoil(state)
    remake_manifest(state)
    with pytest.raises(DamagedError, match=r"^[^\n]{10,300}$"):
        read_state(state, OWNER)


def test_a_manifest_that_nests_without_end_is_refused(state: Path) -> None:
    (state / "manifest.json").write_text('{"files":' * 100_000)
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
        read_state(state, OWNER)


TRACE = random_play("ALE/Breakout-v5", 30)
FIELDS = TRACE.model_dump(mode="json")
PLACES = [(key,) for key in FIELDS] + [("game", key) for key in FIELDS["game"]]


@many
@given(places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=3), given_instead=st.lists(values, min_size=3))
def test_a_trace_with_nonsense_in_its_fields_is_refused_or_is_not_proved(
    places: list[tuple[str, ...]], given_instead: list[Any], tmp_path: Path
) -> None:
    fields = json.loads(json.dumps(FIELDS))
    # What is within something first: afterwards it may be gone.
    for (*inside, key), value in zip(sorted(places, key=len, reverse=True), given_instead, strict=False):
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
    assert proof.ok or proof.what
    assert "\n" not in proof.what
    if proof.ok:
        assert played(trace) == played(TRACE), "nothing that decides what is played was changed"


def played(trace: Trace) -> tuple[object, ...]:
    return trace.actions, trace.rewards, trace.digests, trace.frames, trace.ram_digest


@many
@given(raw=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode(errors="replace"))))
def test_bytes_that_are_no_trace_are_refused(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_bytes(raw)
    with pytest.raises(TraceError, match=r"^[^\n]{10,500}$"):
        read_trace(path)


def sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def with_mark(path: Path, content: bytes) -> Path:
    """A video whose mark holds this."""
    video(TRACE, path, sound=False)
    mark, _ = read_embedded_trace(path)
    raw = path.read_bytes()
    place = raw.rindex(_TYPE) - 8
    assert mark.trace == TRACE
    path.write_bytes(raw[:place] + struct.pack(">I4s", 24 + len(content), b"uuid") + _TYPE + content)
    return path


def larger(path: Path, **changes: object) -> Path:
    video(TRACE, path, sound=False)
    fields = read_embedded_trace(path)[0].model_dump(mode="json", by_alias=True)
    return with_mark(path, zlib.compress(json.dumps(fields | changes).encode()))


BOMBS: dict[str, Callable[[Path], Path]] = {
    "a trace of many gigabytes": lambda folder: sparse(folder / "x.json", b'{"actions": [', 40 * 1024**3),
    "a trace of 10^9 steps": lambda folder: written(folder / "x.json", FIELDS | {"length": 10**9, "frames": 10**9}),
    "a trace that nests": lambda folder: written(folder / "x.json", "[" * 10**6),
    "a trace as large as may be": lambda folder: written(folder / "x.json", f'{{"actions": [{"0," * (31 * 2**20)}0]}}'),
    "an episode without end": lambda folder: written(
        folder / "x.json", FIELDS | {"game": FIELDS["game"] | {"max_episode_frames": 10**12}}
    ),
    "a video with a mark that unpacks without end": lambda folder: with_mark(
        folder / "x.mp4", zlib.compress(bytes(2**28), 9)
    ),
    "a video that says that it is huge": lambda folder: larger(folder / "x.mp4", width=2**31, height=2**31),
    "a video that says that it is odd": lambda folder: larger(folder / "x.mp4", width=641),
    "a video that is a list of addresses": lambda folder: written(
        folder / "x.mp4", "xxxxftyp#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    ),
}


def written(path: Path, what: object) -> Path:
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    return path


def bound_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (4 * 1024**3, 4 * 1024**3))


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_asks_for_more_than_there_is_is_refused_in_bounded_memory_and_time(bomb: str, tmp_path: Path) -> None:
    path = BOMBS[bomb](tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "flows", "verify", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, preexec_fn=bound_memory,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.startswith("ramreel: ")
    assert done.stderr.count("\n") == 1


def test_a_video_that_says_that_it_is_another_size_is_not_proved(tmp_path: Path) -> None:
    from tasks.runs.verify import verify_file

    proof = verify_file(larger(tmp_path / "x.mp4", width=642))
    assert not proof.ok
    assert "\n" not in proof.what


@pytest.mark.parametrize("name", ["videos/step-000000512.mp4", "reports", "settings.json"])
def test_a_link_that_leads_out_of_the_store_is_not_followed(
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
    wanted = f"{name}/secret" if name == "reports" else name
    with pytest.raises(StoreError, match="leads out of the run"):
        store.fetch_artifact(run_id, wanted, tmp_path / "here")


@many
@given(names=st.tuples(st.text(max_size=60), st.text(max_size=60)))
def test_names_lead_nowhere(names: tuple[str, str], store: Store, settings: RunSettings, tmp_path: Path) -> None:
    """Whatever a run and its experiment are called, what belongs to it lies within the store."""
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
    where = Path(store.artifact_uri(run_id, "settings.json").removeprefix("file://"))
    assert where.resolve().is_relative_to(store.address.artifacts.resolve())
    assert where.is_file()
    assert set(tmp_path.iterdir()) == before
