"""A film is proved from its file alone: one picture that is another, one byte that is another, and it is not proved."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from tasks.arcade.decoder import Decoder
from tasks.arcade.episode import Trace, TraceError, play
from tasks.arcade.film import Film, film
from tasks.arcade.film_mark import add_mark, file_digest, read_mark
from tasks.arcade.film_proof import verify_pictures
from tasks.arcade.game import Emulator, Ram, resolve

PONG = resolve("ALE/Pong-v5")
STEPS = 30


class Still:
    n_actions = Emulator(PONG).n_actions

    def decide(self, ram: Ram, previous: Ram, uniform: float | None) -> int:
        return 0


@pytest.fixture(scope="module")
def pong(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trace, Path, Film]:
    trace = play(Still(), PONG, 7, action_seed=8, deterministic=False, max_steps=STEPS, checkpoint_step=1)
    path = tmp_path_factory.mktemp("films") / "pong.mp4"
    return trace, path, film(trace, path)


def filtered(path: Path, to: Path, what: str) -> Path:
    """The film with its pictures changed, its sound as it was, and its own trace in it as if nothing had happened."""
    mark, _ = read_mark(path)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-vf", what]
    settings = ["-c:v", "libx264", "-qp", "18", "-pix_fmt", "yuv420p", "-c:a", "copy", "-fps_mode", "passthrough"]
    subprocess.run([*command, *settings, str(to)], check=True, capture_output=True)
    add_mark(to, mark.model_copy(update={"file": file_digest(to)}))
    return to


def test_a_film_is_proved_from_its_file_alone(pong: tuple[Trace, Path, Film]) -> None:
    trace, path, made = pong
    mark, untouched = read_mark(path)
    assert untouched
    assert mark.trace == trace
    proof = verify_pictures(path)
    assert proof.ok, proof.what
    assert proof.frames_checked == made.frames == trace.frames + 1
    assert proof.exact


def test_a_film_made_again_shows_the_same_pictures_to_the_bit(pong: tuple[Trace, Path, Film], tmp_path: Path) -> None:
    trace, path, _ = pong
    film(trace, tmp_path / "again.mp4")
    with Decoder(path) as one, Decoder(tmp_path / "again.mp4") as other:
        pictures = [list(map(np.copy, decoder)) for decoder in (one, other)]
    assert len(pictures[0]) == trace.frames + 1
    assert all(np.array_equal(*pair) for pair in zip(*pictures, strict=True))


def test_one_picture_that_was_painted_over_is_found_and_named(pong: tuple[Trace, Path, Film], tmp_path: Path) -> None:
    _, path, _ = pong
    box = "drawbox=x=300:y=200:w=16:h=16:color=red:t=fill:enable='eq(n,37)'"
    proof = verify_pictures(filtered(path, tmp_path / "painted.mp4", box))
    assert not proof.ok
    assert proof.first_frame == 37
    assert proof.step == 1 + (37 - 1) // 4


def test_a_picture_that_is_left_out_is_found(pong: tuple[Trace, Path, Film], tmp_path: Path) -> None:
    _, path, made = pong
    proof = verify_pictures(filtered(path, tmp_path / "short.mp4", f"select='not(eq(n,{made.frames - 1}))'"))
    assert not proof.ok
    assert "ends before" in proof.what


def test_a_byte_that_was_changed_is_found(pong: tuple[Trace, Path, Film], tmp_path: Path) -> None:
    _, path, _ = pong
    data = bytearray(path.read_bytes())
    at = data.index(b"ramreel: seed")
    data[at] ^= 1
    changed = tmp_path / "changed.mp4"
    changed.write_bytes(data)
    proof = verify_pictures(changed)
    assert not proof.ok
    assert "changed after the film was made" in proof.what


def test_a_film_of_somebody_else_is_named(pong: tuple[Trace, Path, Film], tmp_path: Path) -> None:
    _, path, _ = pong
    other = tmp_path / "other.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-c", "copy", str(other)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(TraceError, match="no trace in it"):
        verify_pictures(other)
