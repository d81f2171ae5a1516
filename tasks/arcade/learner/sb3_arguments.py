"""Convert hyperparameters to the constructor arguments of Stable-Baselines3 and sb3-contrib."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tasks.arcade.settings.algorithms import (
    SCHEDULE,
    ActorCriticSettings,
    ClippedSettings,
    OffPolicySettings,
    QrDqnSettings,
    Schedule,
)


def schedule(value: Schedule) -> float | Callable[[float], float]:
    """Return a constant, or a function of the remaining progress (1 to 0)."""
    return value if isinstance(value, float | int) else schedule_function(value)


def schedule_function(value: Schedule) -> Callable[[float], float]:
    """Return a schedule as a function of the remaining progress (1 to 0).

    Stable-Baselines3's `LinearSchedule` is the same line, but a third of its values differ in the last bit: runs of
    earlier versions could not be resumed bit-for-bit.
    """
    if isinstance(value, float | int):
        return lambda _: value
    match = SCHEDULE.match(value)
    assert match is not None
    start, end, fraction = float(match["start"]), float(match["end"] or 0), float(match["share"] or 1)
    return lambda remaining: end + (start - end) * max(remaining - (1 - fraction), 0.0) / fraction


def on_policy_arguments(algorithm: ActorCriticSettings) -> dict[str, Any]:
    """Return the arguments of an on-policy algorithm, without environment and seed."""
    return {
        "learning_rate": schedule(algorithm.learning_rate),
        "n_steps": algorithm.n_steps,
        "gamma": algorithm.gamma,
        "gae_lambda": algorithm.gae_lambda,
        "ent_coef": schedule_function(algorithm.ent_coef)(1.0),
        "vf_coef": algorithm.vf_coef,
        "max_grad_norm": algorithm.max_grad_norm,
        "policy_kwargs": {"network": algorithm.network},
    }


def ppo_arguments(algorithm: ClippedSettings) -> dict[str, Any]:
    """Return the arguments of `PPO` or `RecurrentPPO`, without environment and seed."""
    arguments = on_policy_arguments(algorithm)
    # The epsilon is Stable-Baselines3's. Unfused, Adam takes an eighth of the training time.
    optimizer: dict[str, Any] = {"eps": 1e-5, "fused": True}
    if algorithm.weight_decay:
        arguments["policy_kwargs"]["optimizer_class"] = torch.optim.AdamW
        optimizer["weight_decay"] = algorithm.weight_decay
    arguments["policy_kwargs"]["optimizer_kwargs"] = optimizer
    return arguments | {
        "batch_size": algorithm.batch_size,
        "n_epochs": algorithm.n_epochs,
        "clip_range": schedule(algorithm.clip_range),
    }


def off_policy_arguments(algorithm: OffPolicySettings) -> dict[str, Any]:
    """Return the arguments of `DQN` or `QRDQN`, without environment and seed."""
    special = ("algorithm", "learning_rate", "network", "n_quantiles", "terminal_on_life_loss")
    quantiles = {"n_quantiles": algorithm.n_quantiles} if isinstance(algorithm, QrDqnSettings) else {}
    return {
        **{name: getattr(algorithm, name) for name in type(algorithm).model_fields if name not in special},
        "learning_rate": schedule(algorithm.learning_rate),
        "policy_kwargs": {"network": algorithm.network, **quantiles},
    }
