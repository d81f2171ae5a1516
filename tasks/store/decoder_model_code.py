"""Code of a decoder's MLflow model; a copy of this file is in every model, and MLflow runs it to load the model.

ramreel itself never runs it: it reads decoders as plain data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

try:
    from tasks.arcade.decoding.decoder import DecoderError, read_decoder
    from tasks.arcade.decoding.served_decoder import decode_screens
except ImportError as error:
    raise ImportError(
        f"this model needs ramreel where it is loaded ({error}): install ramreel there, "
        "and serve it with `mlflow models serve --env-manager local`"
    ) from None


class DecoderModel(PythonModel):
    """A decoder."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the decoder, whose files are those of the model."""
        self._decoder = read_decoder(Path(context.artifacts["manifest"]).parent)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the RAM at each screen of an episode and the probability of each byte."""
        try:
            ram, confidence = decode_screens(self._decoder, model_input)
        except DecoderError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return {"ram": ram, "confidence": confidence}


mlflow.models.set_model(DecoderModel())
