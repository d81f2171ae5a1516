"""Decoders: MLflow logged models of runs of `ramreel decode`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.arcade.decoding.decoder import Decoder
from tasks.arcade.decoding.served_decoder import example_batch
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.settings.base import SCHEMA
from tasks.store import queries
from tasks.store.connection import connect
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.logged_models import new_logged_model
from tasks.store.missing_artifacts import local_path, missing
from tasks.store.mlflow_model import write_model
from tasks.store.store import Store
from tasks.store.values import DESCRIPTION_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.models import ModelSignature

_CODE = Path(__file__).with_name("decoder_model_code.py")
_MODEL_TYPE = "ramreel-decoder"


@raises_store_error
def save_decoder(store: Store, run_id: str, decoder: Decoder, directory: Path, digest: str) -> str:
    """Save a decoder as the MLflow logged model of a run; it is found once it is complete.

    Args:
        store: the store.
        run_id: MLflow's run id.
        decoder: the decoder.
        directory: its folder; uploaded as it is.
        digest: SHA-256 of its manifest, in hex.

    Returns:
        The logged model's id.
    """
    client = connect(store.address)
    env_id = decoder.description.game.env_id
    tags = {
        "ramreel.digest": digest,
        "ramreel.schema": str(SCHEMA),
        DESCRIPTION_TAG: f"Decoder of {env_id}.\n\n**Input:** the screens of an episode from its start, RGB.\n\n"
        "**Output:** the 128 bytes of RAM at each of them, and the probability of each byte.",
    }
    with new_logged_model(client, run_id, 0, name="decoder", model_type=_MODEL_TYPE, tags=tags) as model:
        model_id = str(model.model_id)
        client.log_model_artifacts(model_id, str(directory))
        with tempfile.TemporaryDirectory(prefix="ramreel-") as files:
            example = example_batch(decoder.description.game)
            write_model(model, Path(files), _CODE, _signature(decoder), example, {"env_id": env_id})
            client.log_model_artifacts(model_id, files)
    return model_id


@raises_store_error
def fetch_decoder(store: Store, run_id: str, into: Path) -> Path:
    """Download the decoder of a run and return its folder within `into`.

    Raises:
        StoreError: the run has no decoder.
        MissingArtifactError: a local store does not have its files any more.
    """
    from mlflow.artifacts import download_artifacts

    location = _newest_model(store, run_id).artifact_location
    local = local_path(location)
    if local is not None and not local.exists():
        raise missing(f"the decoder of run {run_id}", local)
    return Path(download_artifacts(location, dst_path=str(into), tracking_uri=store.address.uri))


@raises_store_error
def decoder_digest(store: Store, run_id: str) -> str:
    """Return the digest of the decoder of a run.

    Raises:
        StoreError: the run has no decoder.
    """
    return str(_newest_model(store, run_id).tags["ramreel.digest"])


@raises_store_error
def decoder_run_of_digest(store: Store, rom: str, digest: str) -> str | None:
    """Return the run id of the decoder of a ROM with a digest, or None."""
    client = connect(store.address)
    for run in queries.runs_with(client, {"ramreel.kind": "decoder", "ramreel.rom": rom}, "FINISHED", None, None):
        if any(model.tags.get("ramreel.digest") == digest for model in _models(client, run)):
            return str(run.info.run_id)
    return None


def _newest_model(store: Store, run_id: str) -> LoggedModel:
    client = connect(store.address)
    models = list(_models(client, client.get_run(run_id)))
    if not models:
        raise StoreError(f"run {run_id} has no decoder: `ramreel decode ENV` makes runs that have one")
    return models[-1]


def _models(client: MlflowClient, run: Run) -> Iterator[LoggedModel]:
    """Yield the complete decoders of a run, the oldest first."""
    for model in queries.logged_models(client, run):
        if str(model.status) == "READY" and model.model_type == _MODEL_TYPE:
            yield model


@raises_store_error
def newest_decoder_run(store: Store, rom: str) -> str | None:
    """Return the run id of the newest finished decoder of a ROM, or None."""
    run = queries.newest_run_of_rom(connect(store.address), "decoder", rom)
    return None if run is None else str(run.info.run_id)


def _signature(decoder: Decoder) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *decoder.description.size, 3))]),
        outputs=Schema([
            TensorSpec(np.dtype(np.uint8), (-1, RAM_SIZE), "ram"),
            TensorSpec(np.dtype(np.float32), (-1, RAM_SIZE), "confidence"),
        ]),
    )  # fmt: skip
