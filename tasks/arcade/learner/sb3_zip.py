"""Contents of a Stable-Baselines3 zip, read without running code that it contains.

`data` is JSON; values that JSON cannot hold are pickles in it, which are read by tasks/arcade/learner/inert_pickle.py.
`policy.pth` is loaded with torch's `weights_only`. Only functions that are pickled by value, such as schedules of one's
own, stay unknown without being unpickled: `trust` does that.
"""

from __future__ import annotations

import base64
import io
import json
import warnings
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.save_util import json_to_data

from tasks.arcade.external_runs import ExternalRunError
from tasks.arcade.learner.inert_pickle import InertPickleError, StandIn, read_inert

_SB3 = "stable_baselines3.common.utils."
_WRAPPING = {_SB3 + "FloatSchedule": "value_schedule", _SB3 + "ConstantSchedule": "val"}
"""Class of a schedule → its attribute: another schedule or a number."""
_WRAPPING_FUNCTIONS = (_SB3 + "constant_fn.<locals>.func", _SB3 + "get_schedule_fn.<locals>.<lambda>")
_LINEAR_FUNCTIONS = ("utils.utils.linear_schedule.<locals>.func", "rl_zoo3.utils.linear_schedule.<locals>.func")
_MAX_BYTES = 2_000_000_000

Schedule = tuple[float, float]
"""Value of a hyperparameter at the start and at the end of training."""


@dataclass(frozen=True)
class Space:
    """Observation or action space: class, shape and dtype, None where unknown."""

    kind: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Sb3Zip:
    """Contents of a zip.

    Attributes:
        data: plain values, and stand-ins for pickled ones.
        weights: state dict of the policy; None if it cannot be read.
        weights_error: why it cannot be read.
        unread: names of values that could not be read without running code, or at all.
        trusted: values of those that were unpickled, since the zip is trusted.
    """

    data: Mapping[str, Any]
    weights: Mapping[str, np.ndarray[Any, Any]] | None
    weights_error: str = ""
    unread: tuple[str, ...] = ()
    trusted: Mapping[str, Any] = field(default_factory=dict)

    def schedule(self, name: str) -> Schedule | None:
        """Return a hyperparameter's values at the start and at the end of training; None if unknown."""
        return _schedule(self.data.get(name)) or _evaluated(self.trusted.get(name))


def read_zip(path: Path, wanted: Collection[str], *, trust: bool) -> Sb3Zip:
    """Read a zip.

    Args:
        path: the zip.
        wanted: names of the values that are read.
        trust: unpickle functions that cannot be read otherwise; this can run arbitrary code.

    Raises:
        ExternalRunError: it is not a zip of Stable-Baselines3.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > _MAX_BYTES:
                raise ValueError(f"it unpacks to more than {_MAX_BYTES:,} bytes")
            text = archive.read("data").decode()
            fields = json.loads(text)
            if not isinstance(fields, dict):
                raise TypeError("its data is not a JSON object")
            weights, error = _weights(archive)
    except OSError as error_of_file:
        raise ExternalRunError(f"{path} cannot be read: {error_of_file}") from None
    # A damaged zip can raise exceptions of zipfile, zlib, json and struct.
    except Exception as error_of_zip:
        cause = f"{type(error_of_zip).__name__} {str(error_of_zip).partition(chr(10))[0]}".rstrip()
        raise ExternalRunError(f"{path} is not a Stable-Baselines3 zip: {cause}") from None
    data = {name: _value(fields[name]) for name in wanted if name in fields}
    unknown = [name for name, value in data.items() if _is_pickled(fields[name]) and _is_unknown(value)]
    trusted = {name: _unpickled(name, fields[name]) for name in unknown} if trust else {}
    unread = tuple(name for name in unknown if trusted.get(name) is None)
    return Sb3Zip(data, weights, error, unread, trusted)


def _weights(archive: zipfile.ZipFile) -> tuple[dict[str, np.ndarray[Any, Any]] | None, str]:
    try:
        state = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
        return {str(name): tensor.detach().numpy() for name, tensor in state.items()}, ""
    # torch raises many exceptions for a damaged file or for objects that are not weights.
    except Exception as error:
        return None, f"{type(error).__name__} {str(error).partition(chr(10))[0]}".rstrip()[:200]


def _is_pickled(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get(":serialized:"), str)


def _value(value: Any) -> Any:
    if not _is_pickled(value):
        return value
    try:
        return read_inert(base64.b64decode(value[":serialized:"], validate=True))
    except (InertPickleError, ValueError):
        return None


def _is_unknown(value: Any) -> bool:
    """Return whether a pickled value was damaged, or is a function of which only the code would tell what it does."""
    return value is None or (isinstance(value, StandIn) and "__qualname__" in value.state and _schedule(value) is None)


def _unpickled(name: str, value: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return json_to_data(json.dumps({name: value})).get(name)
    # Unpickling can raise any exception, such as ModuleNotFoundError for `gym`: the value is left out.
    except Exception:
        return None


def _schedule(value: Any) -> Schedule | None:
    """Return a schedule of Stable-Baselines3 or rl-baselines3-zoo, as instance of a class or as function."""
    try:
        return _schedule_of(value)
    # A forged pickle may hold a number beyond floats, or a schedule within itself.
    except (OverflowError, RecursionError):
        return None


def _schedule_of(value: Any) -> Schedule | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), float(value)
    if not isinstance(value, StandIn):
        return None
    if "__qualname__" in value.state:
        return _function_schedule(value)
    if value.path in _WRAPPING:
        return _schedule_of(value.state.get(_WRAPPING[value.path]))
    if value.path == _SB3 + "LinearSchedule" and value.state.get("end_fraction") == 1.0:
        return _pair(value.state.get("start"), value.state.get("end"))
    return _pair(value.state.get("initial_value"), 0.0) if value.path == "rl_zoo3.utils.SimpleLinearSchedule" else None


def _function_schedule(function: StandIn) -> Schedule | None:
    """Return the schedule of a function that former versions of these libraries defined, by its closure."""
    path = f"{function.state.get('__module__')}.{function.state['__qualname__']}"
    cells = [_cell(cell) for cell in function.state.get("__closure__") or ()]
    if len(cells) != 1:
        return None
    if path in _WRAPPING_FUNCTIONS:
        return _schedule_of(cells[0])
    return _pair(cells[0], 0.0) if path in _LINEAR_FUNCTIONS else None


def _cell(cell: Any) -> Any:
    return cell.arguments[0] if isinstance(cell, StandIn) and len(cell.arguments) == 1 else None


def _pair(start: object, end: object) -> Schedule | None:
    numbers = [float(one) for one in (start, end) if isinstance(one, int | float) and not isinstance(one, bool)]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else None


def _evaluated(value: Any) -> Schedule | None:
    if not callable(value):
        return None
    try:
        start, end = (float(str(value(progress))) for progress in (1.0, 0.0))
    # A custom schedule can raise any exception, in particular at the end, which training may never reach.
    except Exception:
        return None
    return start, end


def space_of(value: Any) -> Space | None:
    """Return a space of gym or gymnasium; None if it is something else."""
    if not isinstance(value, StandIn) or not value.path.startswith(("gym.spaces.", "gymnasium.spaces.")):
        return None
    shape = value.state.get("_shape", value.state.get("shape"))
    whole = isinstance(shape, tuple) and all(isinstance(size, int) for size in shape)
    return Space(value.path.rpartition(".")[2], shape if whole else None, _dtype(value.state.get("dtype")))


def array_dtype(value: Any) -> str | None:
    """Return the dtype of a pickled NumPy array, such as u1 or f4; None if unknown."""
    if not isinstance(value, StandIn):
        return None
    return next((dtype for dtype in map(_dtype, (*value.arguments, *value.parts)) if dtype), None)


def _dtype(value: Any) -> str | None:
    if isinstance(value, StandIn) and value.path == "numpy.dtype" and value.arguments:
        return str(value.arguments[0])
    return None
