"""Names of fields and values as version 0.1 wrote them, read as today's.

Checkpoints, evaluations, atlases and settings files hold a schema; the names within schema 1 have changed once. This
module is the only place in the core that knows the former names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

FIELDS: Mapping[str, str] = {
    "film": "video",
    "film_frames": "video_frames",
    "filmed": "recorded",
    "movers": "moving_bytes",
    "normalised": "normalized",
    "silent": "no_reward",
    "still_gain": "static_byte_gain",
    "survey_steps": "warmup_steps",
    "how": "relation",
    "judged_by": "returns_from",
    "pokes": "perturbations",
    "reach": "bounds",
    "sure": "confidence",
    "thing": "object",
    "things": "objects",
    "unrewarded_lean": "no_reward_logit_noise",
    "unsteady": "discarded_states",
    "words": "summary",
}
VALUES: Mapping[str, str] = {
    "standardised": "standardized",
    "look": "appearance",
    "x drive": "x motion",
    "y drive": "y motion",
}
ARRAYS: Mapping[str, str] = {"movers": "moving_bytes", "survey.": "warmup.", "lean": "logit_noise"}
"""Beginnings of the names of arrays in `features.safetensors`."""
FILES: Mapping[str, str] = {"optimizer.safetensors": "optimiser.safetensors"}
"""Today's name of a file → its former name."""


def current_names(data: Any) -> Any:
    """Return parsed JSON or TOML with today's field names and values, at every depth."""
    if isinstance(data, dict):
        return {FIELDS.get(key, key): _current_value(key, value) for key, value in data.items()}
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return [current_names(value) for value in data]
    return data


def _current_value(key: str, value: Any) -> Any:
    return VALUES.get(value, value) if key == "kind" and isinstance(value, str) else current_names(value)


def current_parameters(params: Mapping[str, str]) -> dict[str, str]:
    """Return flat parameters, such as MLflow's, under current names: `approach.features.moving_bytes`."""
    return dict(_current_parameter(name.split("."), value) for name, value in params.items())


def _current_parameter(path: list[str], value: str) -> tuple[str, str]:
    return ".".join(FIELDS.get(field, field) for field in path), str(_current_value(path[-1], value))


def current_arrays(arrays: Mapping[str, T]) -> dict[str, T]:
    """Return feature statistics under today's array names."""
    return {_current_array(name): array for name, array in arrays.items()}


def _current_array(name: str) -> str:
    for former, new in ARRAYS.items():
        if name.startswith(former):
            return new + name.removeprefix(former)
    return name
