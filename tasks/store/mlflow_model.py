"""The files that make a checkpoint an MLflow model: written beside the checkpoint's own, which stay as they are.

MLmodel                      signature, flavor and metadata
model.py                     code that MLflow runs to load the model ("models from code": nothing is pickled)
requirements.txt             versions of the libraries that the policy was saved with
input_example.json           an observation, and
serving_input_example.json   the same as the body of a request
"""

from __future__ import annotations

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tasks.arcade.checkpoints.checkpoint import CheckpointDescription
from tasks.arcade.checkpoints.served_policy import example_batch, has_q_values, is_recurrent, observation_shape
from tasks.arcade.settings.run import ApproachSettings

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

_CODE = Path(__file__).with_name("model_code.py")
_PACKAGES = ("ale-py", "gymnasium", "mlflow", "numpy", "pydantic", "safetensors", "threadpoolctl")
"""Distributions that loading and predicting import; without ramreel, which is not on a package index."""


def write_model_files(description: CheckpointDescription, model: LoggedModel, directory: Path) -> None:
    """Write the files of a checkpoint.

    Args:
        description: the checkpoint's description.
        model: its logged model.
        directory: folder to write them to.
    """
    approach = description.settings.approach
    example = example_batch(description.settings.game, uses_pixels=approach.features.uses_pixels)
    write_model(model, directory, _CODE, _signature(description), example, _metadata(description))


def write_model(
    model: LoggedModel,
    directory: Path,
    code: Path,
    signature: ModelSignature,
    example: npt.NDArray[np.uint8],
    metadata: dict[str, Any],
) -> None:
    """Write the files of any model that MLflow loads by code.

    Args:
        model: its logged model.
        directory: folder to write them to.
        code: code that loads the model from the folder of its `manifest.json`.
        signature: its inputs and outputs.
        example: an input.
        metadata: its metadata.
    """
    from mlflow.models import Model

    shutil.copyfile(code, directory / "model.py")
    requirements = [f"{package}=={version(package)}" for package in _PACKAGES]
    (directory / "requirements.txt").write_text("\n".join([*requirements, ""]), "utf-8")
    (directory / "input_example.json").write_text(json.dumps(example.tolist()), "utf-8")
    (directory / "serving_input_example.json").write_text(json.dumps({"inputs": example.tolist()}), "utf-8")
    mlflow_model = Model(
        artifact_path=model.artifact_location,
        model_uuid=model.model_id,
        model_id=model.model_id,
        run_id=model.source_run_id,
        signature=signature,
        saved_input_example_info={
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
        },
        metadata=metadata,
    )
    # `mlflow.pyfunc.add_to_model` adds the same, but importing it prints a warning about MLflow's own code.
    mlflow_model.add_flavor(
        "python_function",
        loader_module="mlflow.pyfunc.model",
        python_version=platform.python_version(),
        model_code_path="model.py",
        artifacts={"manifest": {"path": "manifest.json", "uri": "manifest.json"}},
    )
    mlflow_model.save(directory / "MLmodel")


def _signature(description: CheckpointDescription) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

    approach, n_actions = description.settings.approach, len(description.action_names)
    outputs: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype(np.int64), (-1,), "action"),
        TensorSpec(np.dtype(np.float64), (-1, n_actions), "probabilities"),
        TensorSpec(np.dtype(np.float32), (-1,), "value"),
    ]
    if has_q_values(approach):
        outputs.append(TensorSpec(np.dtype(np.float32), (-1, n_actions), "q_values"))
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, *observation_shape(approach)))]),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("deterministic", "boolean", False), ParamSpec("seed", "long", None)]),
    )


def _metadata(description: CheckpointDescription) -> dict[str, Any]:
    game, approach = description.settings.game, description.settings.approach
    return {
        "env_id": game.env_id,
        "approach": approach.name,
        "step": description.step,
        "action_names": list(description.action_names),
    }


def describe_model(description: CheckpointDescription) -> str:
    """Return the description of a model in MLflow's UI, in Markdown."""
    game, approach = description.settings.game, description.settings.approach
    actions = ", ".join(f"{index} {name}" for index, name in enumerate(description.action_names))
    return (
        f"Policy of {approach.name} on {game.env_id} after {description.step:,} steps.\n\n"
        f"**Input:** {_describe_observations(approach)}\n\n"
        f"**Output:** an action, the probability of each action, and the value estimate; actions: {actions}."
    )


def _describe_observations(approach: ApproachSettings) -> str:
    if approach.features.uses_pixels:
        return "each row is the last four frames of the screen, the oldest first, grayscale, 84 x 84."
    rows = "each row is the RAM of the step before and the RAM of this step; at an episode's start they are the same."
    if is_recurrent(approach):
        return f"{rows} The policy is recurrent: a batch is all steps of one episode so far, from the first."
    return rows
