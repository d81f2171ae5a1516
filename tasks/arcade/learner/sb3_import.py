"""Import a Stable-Baselines3 zip as a checkpoint, if its policy is an MlpPolicy of PPO or A2C on RAM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.emulator.emulator import RAM_SIZE, action_names
from tasks.arcade.external_runs import ExternalLog, Source, printable_path
from tasks.arcade.learner.inert_pickle import StandIn, class_path
from tasks.arcade.learner.sb3_zip import Sb3Zip, array_dtype, read_zip, space_of
from tasks.arcade.policies.actor_critic import Weights, check_weights, n_outputs
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.settings.algorithms import A2cSettings, PpoSettings
from tasks.arcade.settings.base import first_error
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.networks import NetworkSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings

_NUMBERS = ("n_steps", "gamma", "gae_lambda", "vf_coef", "max_grad_norm", "batch_size", "n_epochs")
_SCHEDULES = ("learning_rate", "ent_coef", "clip_range")
_DESCRIPTION = ("policy_class", "policy_kwargs", "observation_space", "_last_obs", "num_timesteps", "n_envs", "seed")
_NETWORK = ("mlp_extractor.", "action_net.", "value_net.")
_FLATTEN = "stable_baselines3.common.torch_layers.FlattenExtractor"
_POLICY = "stable_baselines3.common.policies.ActorCriticPolicy"


@dataclass(frozen=True)
class ExternalModel:
    """Contents of a zip.

    Attributes:
        log: the source; a zip has no returns.
        checkpoint: the imported checkpoint; None if the policy is not supported.
        reason: why there is no checkpoint; empty if there is one.
        parameters: hyperparameters, as text.
        steps: environment steps trained.
    """

    log: ExternalLog
    checkpoint: Checkpoint | None
    reason: str
    parameters: Mapping[str, str]
    steps: int


class _UnsupportedPolicyError(ValueError):
    """The policy of a zip cannot be imported."""


def read_sb3_zip(path: Path, game: GameSettings, approach: str, seed: int, *, trust: bool) -> ExternalModel:
    """Read a Stable-Baselines3 zip, of any version. Without `trust` no code that it contains can run.

    Args:
        path: the zip.
        game: emulator settings it was trained with.
        approach: name of its approach in comparisons.
        seed: its training seed.
        trust: unpickle schedules that cannot be read otherwise.

    Raises:
        ExternalRunError: If the file is not a Stable-Baselines3 zip.
    """
    found = read_zip(path, (*_NUMBERS, *_SCHEDULES, *_DESCRIPTION), trust=trust)
    values = {name: _hyperparameter(found, name) for name in (*_NUMBERS, *_SCHEDULES)}
    parameters = {name: str(value) for name, value in values.items() if value is not None}
    steps, own_seed = found.data.get("num_timesteps", 0), found.data.get("seed")
    steps = steps if isinstance(steps, int) and steps > 0 else 0
    try:
        checkpoint = _checkpoint(found, values, game, approach, seed, steps)
        reason = ""
    except _UnsupportedPolicyError as error:
        checkpoint, reason = None, str(error)
    taken = "policy" if checkpoint else "hyperparameters"
    log = ExternalLog(
        (Source(file=printable_path(path), kind="Stable-Baselines3 zip", taken=taken),),
        seed=own_seed if isinstance(own_seed, int) else None,
        notes=_notes(found, playable=checkpoint is not None, trust=trust),
    )
    return ExternalModel(log, checkpoint, reason, parameters, steps)


def _notes(found: Sb3Zip, *, playable: bool, trust: bool) -> tuple[str, ...]:
    notes = []
    if unread := [name for name in (*_SCHEDULES, "policy_class", "policy_kwargs") if name in found.unread]:
        hint = "they cannot be unpickled here" if trust else "--trust unpickles them, which can run code of the zip"
        notes.append(f"left out: {', '.join(unread)}; {hint}")
    if playable and space_of(found.data.get("observation_space")) is None:
        notes.append(f"its observation space cannot be read: its {RAM_SIZE} inputs are taken to be the bytes of RAM")
    return tuple(notes)


def _checkpoint(
    found: Sb3Zip,
    values: Mapping[str, float | int | str | None],
    game: GameSettings,
    approach: str,
    seed: int,
    steps: int,
) -> Checkpoint:
    weights = _supported_weights(found)
    names, n_actions = action_names(game), n_outputs(weights, "action_net.bias")
    if len(names) != n_actions:
        raise _UnsupportedPolicyError(f"it has {n_actions} actions, {game.env_id} has {len(names)}")
    try:
        network = NetworkSettings(
            body=_widths(weights, "shared_net"),
            pi=_widths(weights, "policy_net"),
            vf=_widths(weights, "value_net"),
            activation=_activation(found.data),
        )
        converted = _for_scaled_ram(
            {
                name.replace("mlp_extractor.shared_net.", "mlp_extractor.body."): array
                for name, array in weights.items()
                if name.startswith(_NETWORK)
            },
            network,
        )
        check_weights(network, RAM_SIZE, converted)
        settings = RunSettings(
            game=game,
            approach=_approach(found, values, network, approach),
            seed=seed,
            steps=max(steps, 1),
            checkpoint_every=max(steps, 1),
        )
    except ValidationError as error:
        raise _UnsupportedPolicyError(f"its settings are not supported: {first_error(error)}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _UnsupportedPolicyError(f"it is not an MlpPolicy on RAM: {error}") from None
    if extra := sorted(name for name in weights if not name.startswith(_NETWORK)):
        raise _UnsupportedPolicyError(f"its policy has weights that no MlpPolicy has: {', '.join(extra[:3])}")
    return Checkpoint(settings, settings.steps, names, converted, Statistics.empty())


def _supported_weights(found: Sb3Zip) -> Mapping[str, np.ndarray]:
    """Return the weights of an MlpPolicy on RAM.

    Raises:
        _UnsupportedPolicyError: it is another policy, or observes something else.
    """
    data, weights = found.data, found.weights
    # Weights and layout of other policies, such as DQN's, differ.
    if (kind := class_path(data.get("policy_class"))) != _POLICY:
        name = (kind or "class that cannot be read").rpartition(".")[2]
        raise _UnsupportedPolicyError(f"its policy is a {name}: only MlpPolicy of PPO or A2C is supported")
    if weights is None:
        raise _UnsupportedPolicyError(f"its weights cannot be read: {found.weights_error}")
    if "clip_range" not in data and "batch_size" in data:
        raise _UnsupportedPolicyError(
            "its algorithm is neither PPO nor A2C, but for example TRPO, which has their policy"
        )
    space, inputs = space_of(data.get("observation_space")), _inputs(weights)
    if inputs != RAM_SIZE or (space and (space.shape or (RAM_SIZE,), space.dtype or "u1") != ((RAM_SIZE,), "u1")):
        dtype = f" of dtype {space.dtype}" if space and space.dtype else ""
        raise _UnsupportedPolicyError(f"it observes {inputs} numbers{dtype}, not the {RAM_SIZE} bytes of RAM")
    # With bytes as observations, only VecNormalize makes floats of them.
    if (dtype_seen := array_dtype(data.get("_last_obs"))) not in (None, "u1"):
        raise _UnsupportedPolicyError(
            f"it observed RAM as {dtype_seen} instead of bytes: the statistics of VecNormalize are not in the zip"
        )
    # A features extractor without weights leaves no trace in the state dict.
    extractor = class_path(_policy_kwargs(data).get("features_extractor_class", None)) or _FLATTEN
    if extractor != _FLATTEN:
        raise _UnsupportedPolicyError(
            f"its policy has the features extractor {extractor.rpartition('.')[2]}: only MlpPolicy on plain RAM is "
            "supported"
        )
    return weights


def _inputs(weights: Mapping[str, np.ndarray]) -> int:
    """Return the number of inputs of the first layer of the policy; 0 if there is none."""
    first = ("mlp_extractor.shared_net.0.weight", "mlp_extractor.policy_net.0.weight", "action_net.weight")
    shape = next((weights[name].shape for name in first if name in weights), ())
    return int(shape[1]) if len(shape) == 2 else 0


def _policy_kwargs(data: Mapping[str, Any]) -> Mapping[str, Any]:
    kwargs = data.get("policy_kwargs", {})
    if not isinstance(kwargs, Mapping):
        raise _UnsupportedPolicyError("its policy_kwargs cannot be read, and with them its activation function")
    return kwargs


def _widths(weights: Mapping[str, np.ndarray], net: str) -> tuple[int, ...]:
    found = {name: len(array) for name, array in weights.items() if name.startswith(f"mlp_extractor.{net}.")}
    layers = {int(name.split(".")[2]): width for name, width in found.items() if name.endswith(".weight")}
    return tuple(layers[number] for number in sorted(layers))


def _activation(data: Mapping[str, Any]) -> Any:
    activation = _policy_kwargs(data).get("activation_fn")
    if activation is None:
        return "tanh"
    path = class_path(activation) or (activation.path if isinstance(activation, StandIn) else str(activation))
    return path.rpartition(".")[2].lower()


def _for_scaled_ram(weights: Mapping[str, np.ndarray], network: NetworkSettings) -> Weights:
    """Return the weights for inputs scaled to [0, 1]; Stable-Baselines3's networks get RAM as 0 to 255."""
    first_layers = {"mlp_extractor.body.0.weight"}
    if not network.body:
        first_layers = {
            "mlp_extractor.policy_net.0.weight" if network.pi else "action_net.weight",
            "mlp_extractor.value_net.0.weight" if network.vf else "value_net.weight",
        }
    return {
        name: np.asarray(array * np.float32(255) if name in first_layers else array, np.float32)
        for name, array in weights.items()
    }


def _approach(
    found: Sb3Zip, values: Mapping[str, float | int | str | None], network: NetworkSettings, name: str
) -> ApproachSettings:
    kind = PpoSettings if "clip_range" in found.data else A2cSettings
    own = {name: value for name, value in values.items() if value is not None and name in kind.model_fields}
    algorithm = kind.model_validate(own)
    return ApproachSettings(
        name=name,
        description=f"Imported {algorithm.algorithm.upper()} of Stable-Baselines3 on RAM",
        algorithm=algorithm.model_copy(update={"network": network}),
        features=FeatureSettings(kind="scaled"),
        n_envs=found.data.get("n_envs", 1),
    )


def _hyperparameter(found: Sb3Zip, name: str) -> float | int | str | None:
    """Return a hyperparameter; a schedule as a linear one between its start and its end."""
    value = found.data.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if name not in _SCHEDULES or (schedule := found.schedule(name)) is None:
        return None
    start, end = schedule
    return start if start == end else f"lin_{start:g}_{end:g}"
