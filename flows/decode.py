"""Decode flow: train a decoder that reads the RAM of a game from its pictures."""

from __future__ import annotations

from prefect import flow

from tasks.arcade.inputs.forms import DecodeSettings
from tasks.decode import DecodeResult, start_decoder_run, train_and_log_decoder
from tasks.execution.crash_loop import refuse_crash_loop
from tasks.execution.resolve_run import resolve_run
from tasks.execution.run_status import active_run


@flow(name="decode", flow_run_name="decode {settings.title}")
def decode(settings: DecodeSettings) -> DecodeResult:
    """Train a decoder of a game, in an MLflow run of its own.

    Raises:
        UnknownEnvironmentError: the environment id is unknown, or its game has no RAM observations.
        StoreError: the store is unavailable, or a run whose checkpoints play has none.
        DecoderError: the pairs have too few episodes.
    """
    refuse_crash_loop()
    settings = settings.model_copy(update={"runs": tuple(resolve_run(run) for run in settings.runs)})
    run_id = start_decoder_run(settings)
    with active_run(run_id):
        return train_and_log_decoder(run_id, settings)
