"""Import a Stable-Baselines3 zip as a checkpoint, if its policy is an MlpPolicy of PPO or A2C on RAM.

Stable-Baselines3's reader unpickles the file, which can run arbitrary code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from pydantic import ValidationError
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.torch_layers import FlattenExtractor

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.emulator.emulator import RAM_SIZE, action_names
from tasks.arcade.external_runs import ExternalLog, ExternalRunError, Source, printable_path
from tasks.arcade.policies.actor_critic import Weights, check_weights
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.settings.algorithms import A2cSettings, PpoSettings
from tasks.arcade.settings.base import first_error
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.networks import NetworkSettings
from tasks.arcade.settings.run import ApproachSettings, RunSettings

_NUMBERS = ("n_steps", "gamma", "gae_lambda", "vf_coef", "max_grad_norm", "batch_size", "n_epochs")
_SCHEDULES = ("learning_rate", "ent_coef", "clip_range")
_NETWORK = ("mlp_extractor.", "action_net.", "value_net.")


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


def read_sb3_zip(path: Path, game: GameSettings, approach: str, seed: int) -> ExternalModel:
    """Read a Stable-Baselines3 zip. This can run arbitrary code that it contains.

    Args:
        path: the zip.
        game: emulator settings it was trained with.
        approach: name of its approach in comparisons.
        seed: its training seed.

    Raises:
        ExternalRunError: If the file is not a Stable-Baselines3 zip.
    """
    data, weights = _load(path)
    values = {name: _hyperparameter(data.get(name)) for name in (*_NUMBERS, *_SCHEDULES)}
    parameters = {name: str(value) for name, value in values.items() if value is not None}
    try:
        checkpoint = _checkpoint(data, weights, game, approach, seed)
        reason = ""
    except _UnsupportedPolicyError as error:
        checkpoint, reason = None, str(error)
    taken = "policy" if checkpoint else "hyperparameters"
    log = ExternalLog((Source(file=printable_path(path), kind="Stable-Baselines3 zip", taken=taken),))
    steps = data.get("num_timesteps", 0)
    return ExternalModel(log, checkpoint, reason, parameters, steps if isinstance(steps, int) and steps > 0 else 0)


def _load(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data, params, _ = load_from_zip_file(path, device="cpu")
        policy: Any = params["policy"]
        return dict(data or {}), {name: tensor.detach().numpy() for name, tensor in policy.items()}
    # Unpickling can raise any exception.
    except Exception as error:
        cause = f"{type(error).__name__} {str(error).partition(chr(10))[0]}".rstrip()
        raise ExternalRunError(f"{path} is not a Stable-Baselines3 zip: {cause}") from None


def _checkpoint(
    data: Mapping[str, Any], weights: Mapping[str, np.ndarray], game: GameSettings, approach: str, seed: int
) -> Checkpoint:
    kind, space = data.get("policy_class"), data.get("observation_space")
    # Weights and layout of other policies, such as DQN's, differ.
    if kind is not ActorCriticPolicy:
        name = getattr(kind, "__name__", str(kind))
        raise _UnsupportedPolicyError(f"its policy is a {name}: only MlpPolicy of PPO or A2C is supported")
    if not isinstance(space, spaces.Box) or space.shape != (RAM_SIZE,) or space.dtype != np.uint8:
        raise _UnsupportedPolicyError(f"it observes {space}, not the {RAM_SIZE} bytes of RAM")
    # A features extractor without weights leaves no trace in the state dict.
    extractor = (data.get("policy_kwargs") or {}).get("features_extractor_class", FlattenExtractor)
    if extractor is not FlattenExtractor:
        name = getattr(extractor, "__name__", str(extractor))
        raise _UnsupportedPolicyError(
            f"its policy has the features extractor {name}: only MlpPolicy on plain RAM is supported"
        )
    names, n_actions = action_names(game), len(weights.get("action_net.bias", ()))
    if len(names) != n_actions:
        raise _UnsupportedPolicyError(f"it has {n_actions} actions, {game.env_id} has {len(names)}")
    try:
        network = NetworkSettings(
            pi=_widths(weights, "policy_net"), vf=_widths(weights, "value_net"), activation=_activation(data)
        )
        converted = _for_scaled_ram(
            {name: array for name, array in weights.items() if name.startswith(_NETWORK)}, network
        )
        check_weights(network, RAM_SIZE, converted)
        settings = RunSettings(
            game=game,
            approach=_approach(data, network, approach),
            seed=seed,
            steps=max(data["num_timesteps"], 1),
            checkpoint_every=max(data["num_timesteps"], 1),
        )
    except ValidationError as error:
        raise _UnsupportedPolicyError(f"its settings are not supported: {first_error(error)}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _UnsupportedPolicyError(f"it is not an MlpPolicy on RAM: {error}") from None
    if extra := sorted(name for name in weights if name not in converted):
        raise _UnsupportedPolicyError(f"its policy has weights that no MlpPolicy has: {', '.join(extra[:3])}")
    return Checkpoint(settings, settings.steps, names, converted, Statistics.empty())


def _widths(weights: Mapping[str, np.ndarray], net: str) -> tuple[int, ...]:
    found = {name: len(array) for name, array in weights.items() if name.startswith(f"mlp_extractor.{net}.")}
    layers = {int(name.split(".")[2]): width for name, width in found.items() if name.endswith(".weight")}
    return tuple(layers[number] for number in sorted(layers))


def _activation(data: Mapping[str, Any]) -> Any:
    kwargs = data.get("policy_kwargs") or {}
    activation = kwargs.get("activation_fn")
    return getattr(activation, "__name__", str(activation)).lower() if activation else "tanh"


def _for_scaled_ram(weights: Mapping[str, np.ndarray], network: NetworkSettings) -> Weights:
    """Return the weights for inputs scaled to [0, 1]; Stable-Baselines3's networks get RAM as 0 to 255."""
    first_layers = {
        "mlp_extractor.policy_net.0.weight" if network.pi else "action_net.weight",
        "mlp_extractor.value_net.0.weight" if network.vf else "value_net.weight",
    }
    return {
        name: np.asarray(array * np.float32(255) if name in first_layers else array, np.float32)
        for name, array in weights.items()
    }


def _approach(data: Mapping[str, Any], network: NetworkSettings, name: str) -> ApproachSettings:
    kind = PpoSettings if "clip_range" in data else A2cSettings
    names = [name for name in (*_NUMBERS, *_SCHEDULES) if name in kind.model_fields]
    values = {name: _hyperparameter(data.get(name)) for name in names}
    algorithm = kind.model_validate({name: value for name, value in values.items() if value is not None})
    return ApproachSettings(
        name=name,
        description=f"Imported {algorithm.algorithm.upper()} of Stable-Baselines3 on RAM",
        algorithm=algorithm.model_copy(update={"network": network}),
        features=FeatureSettings(kind="scaled"),
        n_envs=data.get("n_envs", 1),
    )


def _hyperparameter(value: object) -> float | int | str | None:
    """Return a hyperparameter; a schedule as a linear one between its start and its end."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not callable(value):
        return None
    schedule: Callable[[float], object] = value
    try:
        start, end = (float(str(schedule(progress))) for progress in (1.0, 0.0))
    # A custom schedule can raise any exception, in particular at the end, which training may never reach.
    except Exception:
        return None
    return start if start == end else f"lin_{start:g}_{end:g}"
