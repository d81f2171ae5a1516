"""A user's own approach: a named one with other hyper-parameters, from a TOML file in rl-baselines3-zoo's words."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from tasks.arcade.errors import RamreelError
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

_ABOUT = ("approach", "name", "description", "n_timesteps", "policy")
_NETWORK = ("net_arch", "activation_fn", "layer_norm")
_LAYERS = ("body", "pi", "vf")
_UNITS = "lstm_hidden_size"
_LSTMS = {
    "n_lstm_layers": (1, "1, an LSTM is one layer here"),
    "shared_lstm": (False, "false, actor and critic have an LSTM each"),
    "enable_critic_lstm": (True, "true, actor and critic have an LSTM each"),
}
_OF_APPROACH = ("n_envs", "reward")
_LARGEST = 100_000
"""Bytes of a settings file: a few words and numbers are far less."""

_S = TypeVar("_S", bound=Settings)


class HyperparameterError(RamreelError, ValueError):
    """A hyper-parameter, or a file of them, cannot be used; the message is one line and names it."""


@dataclass(frozen=True)
class Own:
    """What a settings file says.

    Attributes:
        approach: the user's own.
        based_on: the named approach that it is built on.
        n_timesteps: how long to train; none: the file does not say.
    """

    approach: ApproachSettings
    based_on: str
    n_timesteps: int | None


def read(path: Path, based_on: str | None = None) -> Own:
    """Read a settings file.

    Args:
        path: the file, TOML.
        based_on: the named approach to build on, instead of the file's own word.

    Raises:
        HyperparameterError: it cannot be read, or says something that there is not.
        UnknownApproachError: there is no approach of this name.
    """
    given = current_names(_toml(path))
    try:
        return _own(given, based_on, path.stem)
    except HyperparameterError as error:
        raise HyperparameterError(f"{path}: {error}") from None


def _toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise HyperparameterError(f"{path} is no settings file: it is larger than {_LARGEST:,} bytes")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise HyperparameterError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, HyperparameterError):
            raise
        raise HyperparameterError(f"{path} is no TOML: {str(error).splitlines()[0]}") from None


def _own(given: Mapping[str, Any], based_on: str | None, stem: str) -> Own:
    about = {word: given[word] for word in _ABOUT if word in given}
    based_on = based_on or _checked("approach", str, about.get("approach", ""))
    if not based_on:
        raise HyperparameterError(
            'say on which approach it builds, by approach = "ppo" in it or by --approach: '
            f"there are {', '.join(APPROACHES)}"
        )
    base = approach(based_on)
    policy, right = "MlpPolicy", "RAM is played by an MlpPolicy"
    if base.features.kind == "pixels":
        policy, right = "CnnPolicy", "pixels are played by a CnnPolicy"
    if isinstance(base.algorithm, RecurrentPpoSettings):
        policy, right = "MlpLstmPolicy", "RAM is remembered by an MlpLstmPolicy"
    if about.get("policy", policy) != policy:
        raise HyperparameterError(f"policy: {right}, got {about['policy']!r}")
    changed = with_hyperparameters(base, {word: value for word, value in given.items() if word not in _ABOUT})
    name = _checked("name", str, about.get("name", _slug(stem)))
    if name in APPROACHES:
        raise HyperparameterError(f'name: {name} is an approach already; give it another one by name = "my-{name}"')
    described = _checked("description", str, about.get("description", f"{based_on} with other hyper-parameters"))
    called = _valid(ApproachSettings, {**changed.model_dump(mode="json"), "name": name, "description": described})
    return Own(called, based_on, _timesteps(about.get("n_timesteps")))


def _slug(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")


def _timesteps(given: object) -> int | None:
    """Files have it as 1e7, which TOML takes for a fraction."""
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 1 <= given <= 10**10 or given != int(given):
        raise HyperparameterError(f"n_timesteps: a whole number of steps from 1 to 10,000,000,000, got {given!r}")
    return int(given)


def with_hyperparameters(base: ApproachSettings, given: Mapping[str, Any]) -> ApproachSettings:
    """An approach with other hyper-parameters; its name stays.

    Args:
        base: the approach.
        given: hyper-parameters in the words of rl-baselines3-zoo; `features` is a table of `FeatureSettings`.

    Raises:
        HyperparameterError: one is unknown, or has a value that it cannot have.
    """
    kind = type(base.algorithm)
    own = [name for name in kind.model_fields if name not in ("algorithm", "network")]
    tables = ["features", *(["policy_kwargs"] if "network" in kind.model_fields else [])]
    _know(given, [*own, *_OF_APPROACH, *tables], f"hyperparameter of {base.name}", also=_ABOUT)
    algorithm: dict[str, Any] = {word: given[word] for word in own if word in given}
    if isinstance(base.algorithm, ActorCriticSettings):
        algorithm["network"] = _network(base.algorithm.network, given.get("policy_kwargs", {})).model_dump()
    if isinstance(base.algorithm, OffPolicySettings):
        algorithm |= _q_network(base.algorithm, given.get("policy_kwargs", {}))
    features = _table("features", given.get("features", {}))
    _know(features, FeatureSettings.model_fields, "key of features", within="features.")
    changed = base.model_copy(
        update={
            "algorithm": _changed(base.algorithm, algorithm),
            "features": _changed(base.features, features, "features."),
        }
    )
    return _changed(changed, {word: given[word] for word in _OF_APPROACH if word in given})


def _q_network(base: OffPolicySettings, given: object) -> dict[str, Any]:
    """What `policy_kwargs` changes of a value-based algorithm; Stable-Baselines3 has `n_quantiles` among them."""
    table = _table("policy_kwargs", given)
    quantiles = ["n_quantiles"] if isinstance(base, QrDqnSettings) else []
    _know(table, [*_NETWORK, *quantiles], "key of policy_kwargs", within="policy_kwargs.")
    changes = _between_layers(table)
    if "net_arch" in table:
        changes["layers"] = _widths("policy_kwargs.net_arch", table["net_arch"])
    network = _changed(base.network, changes, "policy_kwargs.").model_dump()
    return {"network": network, **{word: table[word] for word in quantiles if word in table}}


def _network(base: NetworkSettings, given: object) -> NetworkSettings:
    table = _table("policy_kwargs", given)
    recurrent = isinstance(base, RecurrentNetworkSettings)
    known = [*_NETWORK, _UNITS, *_LSTMS] if recurrent else _NETWORK
    _know(table, known, "key of policy_kwargs", within="policy_kwargs.")
    changes = _between_layers(table) | (_lstms(table) if recurrent else {})
    if "net_arch" in table:
        layers = table["net_arch"]
        # A list is what it is in Stable-Baselines3: as many layers of its own for the policy and for the value.
        layers = {"pi": layers, "vf": layers} if isinstance(layers, list) else _table("policy_kwargs.net_arch", layers)
        _know(layers, _LAYERS, "key of net_arch", within="policy_kwargs.net_arch.")
        for layer in _LAYERS:
            changes[layer] = _widths(f"policy_kwargs.net_arch.{layer}", layers.get(layer, []))
    return _changed(base, changes, "policy_kwargs.")


def _lstms(table: Mapping[str, Any]) -> dict[str, Any]:
    """What sb3-contrib's words say of the LSTMs: of all but their size they can say only what is so."""
    for word, (value, right) in _LSTMS.items():
        if word in table and (type(table[word]) is not type(value) or table[word] != value):
            raise HyperparameterError(f"policy_kwargs.{word}: {right}, got {table[word]!r}")
    if _UNITS not in table:
        return {}
    units = _checked(f"policy_kwargs.{_UNITS}", int, table[_UNITS])
    if not 1 <= units <= 1024:
        raise HyperparameterError(f"policy_kwargs.{_UNITS}: units from 1 to 1,024, got {units}")
    return {"lstm": units}


def _widths(word: str, given: object) -> tuple[int, ...]:
    widths: tuple[int, ...] = _checked(word, TypeAdapter(tuple[int, ...]), given)
    if any(not 1 <= width <= 4096 for width in widths):
        raise HyperparameterError(f"{word}: widths from 1 to 4,096, got {given!r}")
    return widths


def _between_layers(table: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if "activation_fn" in table:
        changes["activation"] = str(table["activation_fn"]).rsplit(".", 1)[-1].lower()
        if changes["activation"] not in ("tanh", "relu"):
            raise HyperparameterError(f'policy_kwargs.activation_fn: "Tanh" or "ReLU", got {table["activation_fn"]!r}')
    if "layer_norm" in table:
        changes["layer_norm"] = table["layer_norm"]
    return changes


def _know(given: Iterable[str], known: Iterable[str], what: str, *, within: str = "", also: Iterable[str] = ()) -> None:
    """Raise for the first word that is not known, with the nearest that is."""
    there = list(known)
    for word in given:
        if word not in there:
            raise HyperparameterError(f"{within}{word} is not a {what}. {suggestion(word, there, also)}")


def _table(word: str, given: object) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise HyperparameterError(f"{word}: a table, such as {word} = {{ ... }}, got {given!r}")
    return given


def _changed(value: _S, changes: Mapping[str, Any], within: str = "") -> _S:
    return _valid(type(value), value.model_dump(mode="json") | dict(changes), within, changes)


def _valid(kind: type[_S], fields: Mapping[str, Any], within: str = "", given: Mapping[str, Any] | None = None) -> _S:
    try:
        # JSON's own strictness: no text for a number, no `true` for 1, but a list for a tuple.
        return kind.model_validate_json(json.dumps(fields, default=str), strict=True)
    except ValidationError as error:
        word = str(error.errors()[0]["loc"][0])
        if kind.model_fields[word].annotation == Schedule:
            said = "a number, or a schedule like lin_2.5e-4, lin_2.5e-4_1e-5 or lin_2.5e-4_1e-5_0.6"
        else:
            said = first_error(error).partition(": ")[2]
        shown = f", got {given[word]!r}" if given and word in given else ""
        raise HyperparameterError(f"{within}{word}: {said}{shown}") from None


def _checked(word: str, kind: Any, given: object) -> Any:
    """A value of a kind, a type or a `TypeAdapter`, by the same strictness."""
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_json(json.dumps(given, default=str), strict=True)
    except ValidationError as error:
        raise HyperparameterError(f"{word}: {error.errors()[0]['msg']}, got {given!r}") from None
