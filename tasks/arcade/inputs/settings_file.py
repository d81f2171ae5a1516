"""Settings files: user-defined approaches in TOML, a named approach with other hyperparameters.

Hyperparameters have rl-baselines3-zoo's names.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from slugify import slugify

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.fields import MAX_STEPS
from tasks.arcade.settings.algorithms import (
    ActorCriticSettings,
    OffPolicySettings,
    QrDqnSettings,
    RecurrentPpoSettings,
    Schedule,
)
from tasks.arcade.settings.approaches import APPROACHES, approach, suggestion
from tasks.arcade.settings.base import Settings, first_error
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.legacy import current_names
from tasks.arcade.settings.networks import NetworkSettings, RecurrentNetworkSettings
from tasks.arcade.settings.run import ApproachSettings
from tasks.arcade.text_files import decode_text

_FILE_KEYS = ("approach", "name", "description", "n_timesteps", "policy")
"""Keys that are not hyperparameters."""
_APPROACH_KEYS = ("n_envs", "reward")
_NETWORK_KEYS = ("net_arch", "activation_fn", "layer_norm")
_LAYERS = ("body", "pi", "vf")
_EMBEDDINGS = "value_embeddings"
_LSTM_UNITS = "lstm_hidden_size"
_LSTM_CONSTANTS = {
    "n_lstm_layers": (1, "1, each LSTM has one layer"),
    "shared_lstm": (False, "false, actor and critic have separate LSTMs"),
    "enable_critic_lstm": (True, "true, actor and critic have separate LSTMs"),
}
"""sb3-contrib's keys of which only one value is supported."""
_MAX_BYTES = 100_000

_S = TypeVar("_S", bound=Settings)


class HyperparameterError(RamreelError, ValueError):
    """A hyperparameter or a settings file is invalid; the message is one line and names it."""


@dataclass(frozen=True)
class UserApproach:
    """Contents of a settings file.

    Attributes:
        approach: the user-defined approach.
        based_on: name of the approach that it is based on.
        n_timesteps: total environment steps; None if the file has none.
    """

    approach: ApproachSettings
    based_on: str
    n_timesteps: int | None


def read_settings_file(path: Path, based_on: str | None = None) -> UserApproach:
    """Read a settings file.

    Args:
        path: the TOML file.
        based_on: name of the approach to base it on, instead of the one in the file.

    Raises:
        HyperparameterError: the file cannot be read, or a key or a value in it is invalid.
        UnknownApproachError: the approach that it is based on does not exist.
    """
    values = current_names(_read_toml(path))
    try:
        return _user_approach(values, based_on, path.stem)
    except HyperparameterError as error:
        raise HyperparameterError(f"{path}: {error}") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise HyperparameterError(f"{path} is not a settings file: it is larger than {_MAX_BYTES:,} bytes")
        return tomllib.loads(decode_text(content))
    except OSError as error:
        raise HyperparameterError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, HyperparameterError):
            raise
        raise HyperparameterError(f"{path} is not valid TOML: {str(error).splitlines()[0]}") from None


def _user_approach(values: Mapping[str, Any], based_on: str | None, stem: str) -> UserApproach:
    based_on = based_on or _parsed("approach", str, values.get("approach", ""))
    if not based_on:
        raise HyperparameterError(
            'No approach to base it on: add approach = "ppo" to the file, or give --approach. '
            f"Available: {', '.join(APPROACHES)}"
        )
    base = approach(based_on)
    policy, reason = _policy(base)
    if values.get("policy", policy) != policy:
        raise HyperparameterError(f"policy: {reason} {policy}, got {values['policy']!r}")
    changed = with_hyperparameters(base, {key: value for key, value in values.items() if key not in _FILE_KEYS})
    name = _parsed("name", str, values.get("name", slugify(stem)))
    if name in APPROACHES:
        raise HyperparameterError(f'name: {name} is a named approach; choose another name, such as name = "my-{name}"')
    description = _parsed("description", str, values.get("description", f"{based_on} with other hyperparameters"))
    own = _updated(changed, {"name": name, "description": description})
    return UserApproach(own, based_on, _timesteps(values.get("n_timesteps")))


def _policy(base: ApproachSettings) -> tuple[str, str]:
    """Return Stable-Baselines3's policy class of an approach, and the reason for it."""
    if base.features.uses_pixels:
        return "CnnPolicy", "pixel observations need a"
    if isinstance(base.algorithm, RecurrentPpoSettings):
        return "MlpLstmPolicy", "a recurrent approach needs an"
    return "MlpPolicy", "RAM observations need an"


def _timesteps(value: object) -> int | None:
    """Return the total environment steps; files have them as 1e7, a float in TOML."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= MAX_STEPS or value % 1:
        raise HyperparameterError(f"n_timesteps: a whole number of steps from 1 to {MAX_STEPS:,}, got {value!r}")
    return int(value)


def with_hyperparameters(base: ApproachSettings, values: Mapping[str, Any]) -> ApproachSettings:
    """Return an approach with other hyperparameters, under its own name.

    Args:
        base: the approach.
        values: hyperparameters by rl-baselines3-zoo's names; `features` is a table of `FeatureSettings`.

    Raises:
        HyperparameterError: a hyperparameter is unknown, or its value is invalid.
    """
    kind = type(base.algorithm)
    own = [name for name in kind.model_fields if name not in ("algorithm", "network")]
    tables = ["features", *(["policy_kwargs"] if "network" in kind.model_fields else [])]
    _require_known(values, [*own, *_APPROACH_KEYS, *tables], f"hyperparameter of {base.name}", also=_FILE_KEYS)
    algorithm: dict[str, Any] = {key: values[key] for key in own if key in values}
    if isinstance(base.algorithm, ActorCriticSettings):
        algorithm["network"] = _network(base.algorithm.network, values.get("policy_kwargs", {}))
    if isinstance(base.algorithm, OffPolicySettings):
        algorithm |= _q_network(base.algorithm, values.get("policy_kwargs", {}))
    features = _table("features", values.get("features", {}))
    _require_known(features, FeatureSettings.model_fields, "key of features", within="features.")
    return _updated(
        base,
        {
            "algorithm": _updated(base.algorithm, algorithm),
            "features": _updated(base.features, features, "features."),
            **{key: values[key] for key in _APPROACH_KEYS if key in values},
        },
    )


def _q_network(base: OffPolicySettings, value: object) -> dict[str, Any]:
    """Return what `policy_kwargs` changes of a value-based algorithm: in Stable-Baselines3 also `n_quantiles`."""
    table = _table("policy_kwargs", value)
    quantiles = ["n_quantiles"] if isinstance(base, QrDqnSettings) else []
    _require_known(table, [*_NETWORK_KEYS, *quantiles], "key of policy_kwargs", within="policy_kwargs.")
    changes = _activations(table)
    if "net_arch" in table:
        changes["layers"] = _widths("policy_kwargs.net_arch", table["net_arch"])
    network = _updated(base.network, changes, "policy_kwargs.")
    return {"network": network, **{key: table[key] for key in quantiles if key in table}}


def _network(base: NetworkSettings, value: object) -> NetworkSettings:
    table = _table("policy_kwargs", value)
    recurrent = isinstance(base, RecurrentNetworkSettings)
    own = [_LSTM_UNITS, *_LSTM_CONSTANTS] if recurrent else [_EMBEDDINGS]
    known = [*_NETWORK_KEYS, *own]
    _require_known(table, known, "key of policy_kwargs", within="policy_kwargs.")
    changes = _activations(table) | (_lstm(table) if recurrent else {})
    if _EMBEDDINGS in table:
        changes[_EMBEDDINGS] = table[_EMBEDDINGS]
    if "net_arch" in table:
        layers = table["net_arch"]
        # As in Stable-Baselines3, a list gives policy and value function separate layers of these widths.
        layers = {"pi": layers, "vf": layers} if isinstance(layers, list) else _table("policy_kwargs.net_arch", layers)
        _require_known(layers, _LAYERS, "key of net_arch", within="policy_kwargs.net_arch.")
        for layer in _LAYERS:
            changes[layer] = _widths(f"policy_kwargs.net_arch.{layer}", layers.get(layer, []))
    return _updated(base, changes, "policy_kwargs.")


def _lstm(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return what sb3-contrib's keys change of the LSTMs: their size alone is configurable."""
    for key, (value, expected) in _LSTM_CONSTANTS.items():
        if key in table and (type(table[key]) is not type(value) or table[key] != value):
            raise HyperparameterError(f"policy_kwargs.{key}: {expected}, got {table[key]!r}")
    if _LSTM_UNITS not in table:
        return {}
    units = _parsed(f"policy_kwargs.{_LSTM_UNITS}", int, table[_LSTM_UNITS])
    if not 1 <= units <= 1024:
        raise HyperparameterError(f"policy_kwargs.{_LSTM_UNITS}: units from 1 to 1,024, got {units}")
    return {"lstm": units}


def _widths(key: str, value: object) -> tuple[int, ...]:
    widths: tuple[int, ...] = _parsed(key, tuple[int, ...], value)
    if any(not 1 <= width <= 4096 for width in widths):
        raise HyperparameterError(f"{key}: widths from 1 to 4,096, got {value!r}")
    return widths


def _activations(table: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "activation_fn" in table:
        changes["activation"] = str(table["activation_fn"]).rsplit(".", 1)[-1].lower()
        if changes["activation"] not in ("tanh", "relu"):
            raise HyperparameterError(f'policy_kwargs.activation_fn: "Tanh" or "ReLU", got {table["activation_fn"]!r}')
    if "layer_norm" in table:
        changes["layer_norm"] = table["layer_norm"]
    return changes


def _require_known(
    values: Iterable[str], known: Iterable[str], kind: str, *, within: str = "", also: Iterable[str] = ()
) -> None:
    """Raise for the first unknown key, with the closest known one."""
    names = list(known)
    for key in values:
        if key not in names:
            raise HyperparameterError(f"{within}{key} is not a {kind}. {suggestion(key, names, also)}")


def _table(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise HyperparameterError(f"{key}: a table, such as {key} = {{ ... }}, got {value!r}")
    return value


def _updated(settings: _S, changes: Mapping[str, Any], within: str = "") -> _S:
    """Return settings with other values, validated strictly: no text for a number, no `true` for 1."""
    try:
        return type(settings).model_validate(dict(settings) | _with_tuples(changes), strict=True)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        if type(settings).model_fields[key].annotation == Schedule:
            expected = "a number, or a schedule like lin_2.5e-4, lin_2.5e-4_1e-5 or lin_2.5e-4_1e-5_0.6"
        else:
            expected = first_error(error).partition(": ")[2]
        value = f", got {changes[key]!r}" if key in changes else ""
        raise HyperparameterError(f"{within}{key}: {expected}{value}") from None


def _parsed(key: str, kind: Any, value: object) -> Any:
    """Return a value of a type, validated equally strictly."""
    try:
        return TypeAdapter(kind).validate_python(_with_tuples(value), strict=True)
    except ValidationError as error:
        raise HyperparameterError(f"{key}: {error.errors()[0]['msg']}, got {value!r}") from None


def _with_tuples(value: Any) -> Any:
    """Return a value with tuples for lists: TOML has only lists, settings only tuples."""
    if isinstance(value, Mapping):
        return {key: _with_tuples(inner) for key, inner in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
