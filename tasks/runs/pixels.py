"""Play from pixels as runs need it: the decoder it takes, found and downloaded, and the reader of a trace's RAM."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tasks.arcade.decoding.decoder import DecoderError
from tasks.arcade.decoding.play_from_pixels import PixelSource
from tasks.arcade.episodes.observed_ram import ReadRam
from tasks.arcade.episodes.trace import Trace, TraceError
from tasks.arcade.settings.base import Settings
from tasks.arcade.settings.evaluation import PixelMethod
from tasks.arcade.settings.game import GameSettings
from tasks.store import Store, StoreError, decoder_digest, decoder_run_of_digest, fetch_decoder, newest_decoder_run


class PixelsRequest(Settings):
    """How the checkpoints of a run play from pixels.

    Attributes:
        method: how RAM is read.
        decoder: run id of the decoder that reads it, or that is compared with the second emulator; None: none.
    """

    method: PixelMethod
    decoder: str | None


def request_pixels(store: Store, run_id: str, method: PixelMethod, decoder: str | None) -> PixelsRequest:
    """Return how the checkpoints of a run play from pixels.

    Args:
        store: the store.
        run_id: the run.
        method: how RAM is read.
        decoder: run id of the decoder (default: the newest one of the game).

    Raises:
        StoreError: the run's policy observes pixels, or there is no decoder.
        DecoderError: the decoder is damaged, or of another game.
    """
    run = store.run(run_id)
    if run.settings is None or run.settings.approach.features.uses_pixels:
        raise StoreError(f"run {run.name} ({run_id[:8]}) has no policy that observes RAM: --from-pixels needs one")
    game = run.settings.game
    found = decoder or newest_decoder_run(store, game.rom)
    if found is None:
        if method == "decode":
            raise StoreError(f"there is no decoder of {game.env_id}: `ramreel decode {game.env_id}` trains one")
        return PixelsRequest(method=method, decoder=None)
    try:
        _check_decoder(store, found, game)
    except DecoderError:
        # Nobody asked for this one, and it only adds a comparison.
        if decoder is None and method == "follow":
            return PixelsRequest(method=method, decoder=None)
        raise
    return PixelsRequest(method=method, decoder=found)


def _check_decoder(store: Store, run_id: str, game: GameSettings) -> None:
    with tempfile.TemporaryDirectory(prefix="ramreel-") as folder:
        fetch_source(store, run_id, Path(folder)).reader(game)


def fetch_source(store: Store, decoder: str, into: Path) -> PixelSource:
    """Download the decoder of a run and return it as a source of RAM.

    Raises:
        StoreError: the run has no decoder.
    """
    return PixelSource("decode", fetch_decoder(store, decoder, into), decoder_digest(store, decoder))


def reader_of(store: Store, trace: Trace, into: Path) -> ReadRam | None:
    """Return what reads the RAM that the player of a trace observed; None if it observed the emulator's.

    Args:
        store: the store.
        trace: the trace.
        into: folder that a decoder is downloaded to.

    Raises:
        TraceError: the store does not have the decoder that the trace names.
        DecoderError: the decoder is damaged.
    """
    observed = trace.from_pixels
    if observed is None:
        return None
    if observed.decoder is None:
        return PixelSource(observed.method).reader(trace.game).read
    run_id = decoder_run_of_digest(store, trace.game.rom, observed.decoder)
    if run_id is None:
        raise TraceError(f"the store does not have decoder {observed.decoder[:12]}, which the trace names")
    return fetch_source(store, run_id, into).reader(trace.game).read
