"""A zip of Stable-Baselines3 that somebody else made becomes a checkpoint of ours, where its policy is one.

It is read by Stable-Baselines3's own reader, which unpickles: whoever made the file decides what that runs.
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
class ForeignModel:
    """What a zip holds.

    Attributes:
        log: where it is from; nothing is known of its returns.
        checkpoint: what plays; none: it cannot be played here.
        reason: why not.
        parameters: its hyper-parameters, as words.
        steps: that it was trained.
    """

    log: ExternalLog
    checkpoint: Checkpoint | None
    reason: str
    parameters: Mapping[str, str]
    steps: int


class _NoCheckpointError(ValueError):
    """What is in the zip does not play on 128 bytes of RAM; the message says why."""


def read_zip(path: Path, game: GameSettings, approach: str, seed: int) -> ForeignModel:
    """Read a zip of Stable-Baselines3. This may run code that is in it.

    Args:
        path: the zip.
        game: that it plays.
        approach: what it is called.
        seed: of its training.

    Raises:
        ExternalRunError: it is no such zip.
    """
    data, weights = _loaded(path)
    numbers = {word: _number(data.get(word)) for word in (*_NUMBERS, *_SCHEDULES)}
    parameters = {word: str(value) for word, value in numbers.items() if value is not None}
    try:
        checkpoint = _checkpoint(data, weights, game, approach, seed)
        reason = ""
    except _NoCheckpointError as error:
        checkpoint, reason = None, str(error)
    taken = "its policy" if checkpoint else "its hyper-parameters"
    log = ExternalLog((Source(file=printable_path(path), kind="Stable-Baselines3's zip", taken=taken),))
    steps = data.get("num_timesteps", 0)
    return ForeignModel(log, checkpoint, reason, parameters, steps if isinstance(steps, int) and steps > 0 else 0)


def _loaded(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data, params, _ = load_from_zip_file(path, device="cpu")
        policy: Any = params["policy"]
        return dict(data or {}), {name: tensor.detach().numpy() for name, tensor in policy.items()}
    # What is unpickled may raise anything.
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else ""
        raise ExternalRunError(f"{path} is no zip of Stable-Baselines3: {type(error).__name__} {said}".rstrip()) from None


def _checkpoint(
    data: Mapping[str, Any], weights: Mapping[str, np.ndarray], game: GameSettings, approach: str, seed: int
) -> Checkpoint:
    kind, seen = data.get("policy_class"), data.get("observation_space")
    # DQN plays the best value, or anything at all: not by preferences that could be sampled from.
    if kind is not ActorCriticPolicy:
        name = getattr(kind, "__name__", str(kind))
        raise _NoCheckpointError(f"its policy is a {name}; an MlpPolicy of PPO or A2C can be played here")
    if not isinstance(seen, spaces.Box) or seen.shape != (RAM_SIZE,) or seen.dtype != np.uint8:
        raise _NoCheckpointError(f"it observes {seen}, not the {RAM_SIZE} bytes of RAM")
    # What it makes of RAM may leave no weights behind, by which it would be known.
    extractor = (data.get("policy_kwargs") or {}).get("features_extractor_class", FlattenExtractor)
    if extractor is not FlattenExtractor:
        name = getattr(extractor, "__name__", str(extractor))
        raise _NoCheckpointError(f"its policy sees RAM through a {name}; an MlpPolicy on RAM as it is can be played")
    names, theirs = action_names(game), len(weights.get("action_net.bias", ()))
    if len(names) != theirs:
        raise _NoCheckpointError(f"it has {theirs} actions, {game.env_id} has {len(names)}")
    try:
        network = NetworkSettings(
            pi=_widths(weights, "policy_net"), vf=_widths(weights, "value_net"), activation=_activation(data)
        )
        own = _on_scaled_ram({name: array for name, array in weights.items() if name.startswith(_NETWORK)}, network)
        check_weights(network, RAM_SIZE, own)
        settings = RunSettings(
            game=game,
            approach=_approach(data, network, approach),
            seed=seed,
            steps=max(data["num_timesteps"], 1),
            checkpoint_every=max(data["num_timesteps"], 1),
        )
    except ValidationError as error:
        raise _NoCheckpointError(f"its settings are none: {first_error(error)}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise _NoCheckpointError(f"it is no MlpPolicy on RAM: {error}") from None
    if left := sorted(name for name in weights if name not in own):
        raise _NoCheckpointError(f"its policy has more than an MlpPolicy: {', '.join(left[:3])}")
    return Checkpoint(settings, settings.steps, names, own, Statistics.empty())


def _widths(weights: Mapping[str, np.ndarray], net: str) -> tuple[int, ...]:
    found = {name: len(array) for name, array in weights.items() if name.startswith(f"mlp_extractor.{net}.")}
    layers = {int(name.split(".")[2]): width for name, width in found.items() if name.endswith(".weight")}
    return tuple(layers[number] for number in sorted(layers))


def _activation(data: Mapping[str, Any]) -> Any:
    kwargs = data.get("policy_kwargs") or {}
    activation = kwargs.get("activation_fn")
    return getattr(activation, "__name__", str(activation)).lower() if activation else "tanh"


def _on_scaled_ram(weights: Mapping[str, np.ndarray], network: NetworkSettings) -> Weights:
    """Stable-Baselines3 gives a network RAM as 0 to 255, ours as 0 to 1: the first layers make up for it."""
    firsts = {
        "mlp_extractor.policy_net.0.weight" if network.pi else "action_net.weight",
        "mlp_extractor.value_net.0.weight" if network.vf else "value_net.weight",
    }
    return {
        name: np.asarray(array * np.float32(255) if name in firsts else array, np.float32)
        for name, array in weights.items()
    }


def _approach(data: Mapping[str, Any], network: NetworkSettings, name: str) -> ApproachSettings:
    kind = PpoSettings if "clip_range" in data else A2cSettings
    known = {word: _number(data.get(word)) for word in (*_NUMBERS, *_SCHEDULES) if word in kind.model_fields}
    algorithm = kind.model_validate({word: value for word, value in known.items() if value is not None})
    return ApproachSettings(
        name=name,
        description=f"imported: {algorithm.algorithm} of Stable-Baselines3 on RAM",
        algorithm=algorithm.model_copy(update={"network": network}),
        features=FeatureSettings(kind="scaled"),
        n_envs=data.get("n_envs", 1),
    )


def _number(value: object) -> float | int | str | None:
    """A hyper-parameter; of a schedule its beginning and end, as if it fell in a line."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not callable(value):
        return None
    schedule: Callable[[float], object] = value
    try:
        start, end = (float(str(schedule(progress))) for progress in (1.0, 0.0))
    # It is anybody's code, and Stable-Baselines3 itself need never have asked it for the end.
    except Exception:
        return None
    return start if start == end else f"lin_{start:g}_{end:g}"
