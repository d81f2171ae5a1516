"""Code of a checkpoint's MLflow model; a copy of this file is in every model, and MLflow runs it to load the model.

ramreel itself never runs it: it reads checkpoints as plain data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.model import PythonModel, PythonModelContext

try:
    from tasks.arcade.checkpoints.served_policy import BatchError, load_served_policy
except ImportError as error:
    raise ImportError(
        f"this model needs ramreel where it is loaded ({error}): install ramreel there, "
        "and serve it with `mlflow models serve --env-manager local`"
    ) from None


class CheckpointModel(PythonModel):
    """The policy of a checkpoint."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the checkpoint, whose files are those of the model."""
        self._policy = load_served_policy(Path(context.artifacts["manifest"]).parent)

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the decisions of the policy, one row per step; the signature describes inputs and outputs."""
        try:
            found = self._policy.predict(model_input, **params or {})
        except BatchError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        out: dict[str, np.ndarray] = {"action": found.actions, "probabilities": found.probabilities}
        out["value"] = found.values
        if found.q_values is not None:
            out["q_values"] = found.q_values
        return out


mlflow.models.set_model(CheckpointModel())
