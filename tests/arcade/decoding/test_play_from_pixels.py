"""A policy on RAM plays from pictures alone, and its trace proves what it observed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.decoders import small_decoder
from helpers.episodes import network_checkpoint
from helpers.unreadable import without_state

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.decoding.decoder import DecoderError, write_decoder
from tasks.arcade.decoding.measure_following import measure_following
from tasks.arcade.decoding.play_from_pixels import PixelSource, play_from_pixels
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.scores.pixels_returns import describe_returns, return_kept

STEPS = 60


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return network_checkpoint()


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> PixelSource:
    folder = tmp_path_factory.mktemp("decoder") / "decoder"
    return PixelSource("decode", folder, write_decoder(small_decoder()[0], folder))


def played(checkpoint: Checkpoint, source: PixelSource, **kwargs: Any) -> Trace:
    return play_from_pixels(
        *(checkpoint.agent(), checkpoint.settings.game, 3),
        source=source,
        action_seed=4,
        deterministic=False,
        max_steps=STEPS,
        **kwargs,
    )


@pytest.mark.parametrize("method", ["follow", "decode"])
def test_policy_never_reads_the_ram_and_its_decisions_are_verified(
    method: str, checkpoint: Checkpoint, decoder: PixelSource
) -> None:
    source, game = decoder if method == "decode" else PixelSource("follow"), checkpoint.settings.game
    trace = played(checkpoint, source, env=without_state(make_env(game, obs_type="rgb")))
    assert trace.from_pixels is not None
    assert (trace.from_pixels.method, trace.from_pixels.decoder) == (method, source.digest)
    # Breakout's serve is not drawn at once, so even a follower may err in some steps.
    assert trace.from_pixels.digests[:3] == trace.digests[:3] or method == "decode"
    assert Trace.model_validate_json(trace.model_dump_json()) == trace
    assert verify(trace).ok
    agent = checkpoint.agent()
    assert verify_decisions(trace, agent, source.reader(game).read).ok
    with pytest.raises(TraceError, match="the trace was played from pixels"):
        verify_decisions(trace, agent)


def test_other_observations_and_other_actions_are_found(checkpoint: Checkpoint) -> None:
    source, game, agent = PixelSource("follow"), checkpoint.settings.game, checkpoint.agent()
    trace = played(checkpoint, source)
    assert trace.from_pixels is not None
    digests = (*trace.from_pixels.digests[:7], "0" * 8, *trace.from_pixels.digests[8:])
    forged = trace.from_pixels.model_copy(update={"digests": digests})
    result = verify_decisions(trace.model_copy(update={"from_pixels": forged}), agent, source.reader(game).read)
    assert (result.ok, result.first_difference) == (False, 7)
    assert result.message == "the RAM read from the screen of step 7 differs from the trace"
    with pytest.raises(TraceError, match="the trace was not played from pixels"):
        verify_decisions(trace.model_copy(update={"from_pixels": None}), agent, source.reader(game).read)
    with pytest.raises(ValueError, match="from_pixels and digests disagree"):
        Trace.model_validate(
            trace.model_dump() | {"from_pixels": forged.model_dump() | {"digests": forged.digests[:5]}}
        )


def test_decoder_of_another_game_is_rejected(decoder: PixelSource, tmp_path: Path) -> None:
    with pytest.raises(DecoderError, match="trained on ALE/Breakout-v5 with rom breakout, but ALE/Pong-v5 has pong"):
        decoder.reader(resolve("ALE/Pong-v5"))
    with pytest.raises(DecoderError, match="its digest is"):
        PixelSource("decode", decoder.decoder, "0" * 64).reader(resolve("ALE/Breakout-v5"))


def test_following_is_measured_against_the_emulator() -> None:
    figures = measure_following(resolve("ALE/Pong-v5"), None, 100, seed=1)
    assert figures.exact > 0.95
    assert (figures.steps, figures.lost) == (100, 0)
    assert figures.states >= 1
    assert figures.attainable is not None
    assert abs(figures.attainable - figures.exact) < 0.05
    assert bool(figures.wrong_bytes) == (figures.exact < 1)


def test_returns_are_compared_with_random_play() -> None:
    returns = {"true": (10.0, 12.0), "followed": (11.0, 11.0), "decoded": (5.0, 7.0), "random": (1.0, 1.0)}
    assert return_kept(returns) == {"followed": 1.0, "decoded": 0.5}
    shown, kept = describe_returns(returns)
    assert shown.startswith("mean return of 2 episodes by the RAM that the policy observes: true 11.0 [10.0, 12.0]")
    assert kept == "of the return over random play are kept: 100% by followed RAM, 50% by decoded RAM"
    assert return_kept({"true": (1.0,), "random": (2.0,)}) == {}
    assert describe_returns({}) == ()
