"""Play from pixels takes a decoder of the game, and its videos are verified with the decoder that the trace names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.decoders import small_decoder
from helpers.episodes import network_checkpoint

from tasks.arcade.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tasks.arcade.decoding.decoder import DecoderError, write_decoder
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.inputs.forms import DecodeSettings
from tasks.arcade.report import PixelsRow
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.evaluation import EvaluationSettings, VideoSettings
from tasks.arcade.settings.run import RunSettings
from tasks.arcade.video.checkpoint_video import VideoFiles
from tasks.arcade.video.pixels_video import evaluate_from_pixels
from tasks.runs.comparability import select_runs
from tasks.runs.pixels import PixelsRequest, fetch_source, request_pixels
from tasks.runs.recorded import recorded_checkpoints, unrecorded
from tasks.runs.report_data import read_run
from tasks.runs.verify import verify_run
from tasks.store import Store, StoreError, save_decoder, start_game_run

Start = Callable[..., str]


def save_small_decoder(store: Store, folder: Path) -> str:
    """Save the small decoder of Breakout as a finished run, and return its run id."""
    game, settings = resolve("ALE/Breakout-v5"), DecodeSettings(env_id="ALE/Breakout-v5")
    run_id = start_game_run(
        store, "decoder", settings, game, name="decoder", command="ramreel decode", versions={}, commit=None
    )
    decoder = small_decoder()[0]
    save_decoder(store, run_id, decoder, folder / "decoder", write_decoder(decoder, folder / "decoder"))
    store.finish_run(run_id, "FINISHED")
    return run_id


@pytest.fixture
def checkpoint() -> Checkpoint:
    made = network_checkpoint()
    game = made.settings.game.model_copy(update={"max_episode_frames": 80})
    return replace(made, settings=made.settings.model_copy(update={"game": game}))


def test_decoder_is_that_of_the_game(
    store: Store, start: Start, settings: RunSettings, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    breakout, pong = start(store, checkpoint.settings), start(store, settings)
    assert request_pixels(store, breakout, "follow", None) == PixelsRequest(method="follow", decoder=None)
    with pytest.raises(StoreError, match="there is no decoder of ALE/Breakout-v5: `ramreel decode ALE/Breakout-v5`"):
        request_pixels(store, breakout, "decode", None)
    decoder = save_small_decoder(store, tmp_path)
    assert request_pixels(store, breakout, "decode", None) == PixelsRequest(method="decode", decoder=decoder)
    with pytest.raises(DecoderError, match="trained on ALE/Breakout-v5 with rom breakout, but ALE/Pong-v5 has pong"):
        request_pixels(store, pong, "follow", decoder)
    with pytest.raises(StoreError, match="has no decoder"):
        request_pixels(store, breakout, "follow", pong)
    other = checkpoint.settings.game.model_copy(update={"frame_skip": 2})
    run_id = start(store, checkpoint.settings.model_copy(update={"game": other}))
    assert request_pixels(store, run_id, "follow", None).decoder is None, "nobody asked for the one there is"
    with pytest.raises(DecoderError, match="with frame skip 4"):
        request_pixels(store, run_id, "decode", None)
    on_pixels = start(store, settings.model_copy(update={"approach": approach("ppo-pixels")}))
    with pytest.raises(StoreError, match="has no policy that observes RAM: --from-pixels needs one"):
        request_pixels(store, on_pixels, "follow", None)


def test_decoded_observations_are_verified(store: Store, start: Start, checkpoint: Checkpoint, tmp_path: Path) -> None:
    run_id, step = start(store, checkpoint.settings), checkpoint.step
    digest = write_checkpoint(checkpoint, tmp_path / "checkpoint")
    store.save_checkpoint(run_id, step, tmp_path / "checkpoint", digest)
    decoder = save_small_decoder(store, tmp_path)
    source = fetch_source(store, decoder, tmp_path / "fetched")
    settings, video = EvaluationSettings(episodes=1), VideoSettings(panel=False)
    result = evaluate_from_pixels(tmp_path / "checkpoint", digest, settings, video, tmp_path, None, source, source)
    files = VideoFiles.in_folder(tmp_path)
    store.save_pixels_video(run_id, step, "decode", files.mp4, files.trace)
    assert unrecorded(store, run_id, None, again=False, last=False, pixels="decode"), "it has no evaluation yet"
    store.save_pixels_evaluation(run_id, result)
    assert not unrecorded(store, run_id, None, again=False, last=False, pixels="decode")
    assert unrecorded(store, run_id, None, again=False, last=False), "from RAM it is not recorded"
    (recorded,) = recorded_checkpoints(store, run_id, "decode")
    assert recorded.path == f"videos/step-{step:09d}/from-pixels-decode.mp4"
    assert recorded.returns == result.returns
    assert recorded_checkpoints(store, run_id, "follow") == () == recorded_checkpoints(store, run_id)
    store.log_metrics(run_id, result.metrics(), step)
    view = read_run(store, run_id, select_runs(store, (run_id,)))
    assert view.from_pixels == PixelsRow(step=step, returns=result.returns), "a comparison's report shows them"
    (proof,) = verify_run(store, run_id)
    assert (proof.ok, proof.by_checkpoint, proof.observed) == (True, True, "decoded")
    assert "every action chosen by the checkpoint on RAM decoded from pixels" in proof.line
    store.finish_run(decoder, "FAILED")
    (proof,) = verify_run(store, run_id)
    assert not proof.ok
    assert "the store does not have decoder" in proof.reason
