"""Plays the evaluation episodes of a checkpoint from true, followed or decoded RAM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tasks.arcade.checkpoints.checkpoint import Checkpoint, unlearned_checkpoint
from tasks.arcade.decoding.play_from_pixels import PixelSource, play_from_pixels
from tasks.arcade.episodes.evaluation import play_episodes
from tasks.arcade.scores.pixels_returns import METHOD_OF, RamSource
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.evaluation import EvaluationSettings


def play_returns(
    checkpoint: Checkpoint,
    settings: EvaluationSettings,
    source: RamSource,
    decoder: PixelSource | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> tuple[float, ...]:
    """Play the evaluation episodes of a checkpoint and return their returns.

    Args:
        checkpoint: Checkpoint on RAM.
        settings: Evaluation settings; the seeds are the same for every source.
        source: What the policy observes.
        decoder: Decoder of the game; required by `decoded`.
        on_episode: Called after each episode.

    Raises:
        DecoderError: The decoder is missing, damaged, or of another game.
    """
    if source == "random":
        run = checkpoint.settings.model_copy(update={"approach": approach("random")})
        checkpoint = unlearned_checkpoint(run)
    if method := METHOD_OF.get(source):
        pixels = decoder if method == "decode" and decoder else PixelSource(method)
        play_episode = partial(play_from_pixels, source=pixels)
        traces = play_episodes(checkpoint, None, settings, on_episode, play_episode)
    else:
        traces = play_episodes(checkpoint, None, settings, on_episode)
    return tuple(float(trace.episode_return) for trace in traces)
