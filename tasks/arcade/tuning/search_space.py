"""The hyperparameters that a sweep can search, and the range or the values of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.arcade.errors import RamreelError
from tasks.arcade.inputs.forms import SweepSettings
from tasks.arcade.settings.approaches import approach, suggestion

if TYPE_CHECKING:
    from optuna.trial import Trial


@dataclass(frozen=True)
class FloatRange:
    """Uniform distribution between two numbers, on a logarithmic scale with `log`."""

    low: float
    high: float
    log: bool = False


Categories = tuple[float, ...]

SEARCH_SPACE: Mapping[str, FloatRange | Categories] = {
    "learning_rate": FloatRange(1e-5, 1e-2, log=True),
    "ent_coef": FloatRange(1e-5, 0.1, log=True),
    "gamma": (0.9, 0.95, 0.98, 0.99, 0.995, 0.999),
    "gae_lambda": (0.8, 0.9, 0.95, 0.98, 1.0),
    "n_steps": (16, 32, 64, 128, 256, 512, 1024, 2048),
    "batch_size": (32, 64, 128, 256, 512, 1024),
    "n_epochs": (1, 2, 3, 5, 8, 10),
    "clip_range": (0.1, 0.2, 0.3, 0.4),
    "vf_coef": FloatRange(0.1, 1.0),
    "max_grad_norm": (0.3, 0.5, 1.0, 2.0, 5.0),
}
"""Search space of each hyperparameter, similar to rl-baselines3-zoo's."""


class SweepError(RamreelError, ValueError):
    """A sweep cannot be started or resumed."""


def searched_parameters(settings: SweepSettings) -> tuple[str, ...]:
    """Return the names of the hyperparameters that a sweep searches.

    Raises:
        SweepError: If the approach does not learn, or a hyperparameter is not in its search space.
        UnknownApproachError: If there is no such approach.
    """
    base = approach(settings.approach)
    if not base.algorithm.learns:
        raise SweepError(f"{base.name} does not learn: it has no hyperparameters to search")
    available = tuple(name for name in SEARCH_SPACE if name in type(base.algorithm).model_fields)
    for name in settings.parameters:
        if name not in available:
            raise SweepError(f"{name} is not in the search space of {base.name}. {suggestion(name, available)}")
    return settings.parameters or available


def suggest_value(trial: Trial, name: str, space: FloatRange | Categories) -> Any:
    if isinstance(space, FloatRange):
        return float(f"{trial.suggest_float(name, space.low, space.high, log=space.log):.4g}")
    return trial.suggest_categorical(name, space)
