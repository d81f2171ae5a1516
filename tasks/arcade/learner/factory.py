"""A run's settings become an algorithm of Stable-Baselines3 over the run's workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.learner.networks import RamPolicy
from tasks.arcade.learner.off_policy import (
    OffPolicyRollouts,
    RamQPolicy,
    RamQuantilePolicy,
    RamReplayBuffer,
    RolloutDQN,
    RolloutQRDQN,
)
from tasks.arcade.learner.on_policy import RolloutA2C, RolloutMixin, RolloutPPO
from tasks.arcade.learner.recurrent import RecurrentRamPolicy, RolloutRecurrentPPO
from tasks.arcade.learner.reward_scaling import RewardScale
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.rollouts.worker_pool import WorkerPool
from tasks.arcade.settings.algorithms import (
    SCHEDULE,
    A2cSettings,
    ActorCriticSettings,
    ClippedSettings,
    OffPolicySettings,
    PpoSettings,
    QrDqnSettings,
    RecurrentPpoSettings,
    Schedule,
)
from tasks.arcade.settings.run import RunSettings


def schedule(value: Schedule) -> float | Callable[[float], float]:
    """A Stable-Baselines3 schedule: a number, or a function of the progress that remains (1 to 0)."""
    return value if isinstance(value, float | int) else _falling(value)


def _falling(value: Schedule) -> Callable[[float], float]:
    if isinstance(value, float | int):
        return lambda _: value
    match = SCHEDULE.match(value)
    assert match is not None
    start, end, share = float(match["start"]), float(match["end"] or 0), float(match["share"] or 1)
    return lambda remaining: end + (start - end) * max(remaining - (1 - share), 0.0) / share


Model = RolloutMixin | OffPolicyRollouts


def build(settings: RunSettings, pool: WorkerPool) -> Model:
    """The algorithm of a run over its workers, seeded.

    Raises:
        ValueError: the approach learns nothing.
    """
    env, algorithm = RolloutVecEnv(pool, len(action_names(settings.game))), settings.approach.algorithm
    if isinstance(algorithm, OffPolicySettings):
        return _off_policy(settings, algorithm, env)
    model: RolloutMixin
    if isinstance(algorithm, PpoSettings):
        model = RolloutPPO(RamPolicy, env, seed=settings.seed, device="cpu", **ppo_arguments(algorithm))
    elif isinstance(algorithm, RecurrentPpoSettings):
        given = ppo_arguments(algorithm)
        model = RolloutRecurrentPPO(RecurrentRamPolicy, env, seed=settings.seed, device="cpu", **given)
    elif isinstance(algorithm, A2cSettings):
        model = RolloutA2C(RamPolicy, env, seed=settings.seed, device="cpu", **arguments(algorithm))
    else:
        raise ValueError(f"approach {settings.approach.name} learns nothing: it has no model to train")
    model.pipelined, model.entropy = algorithm.pipelined, _falling(algorithm.ent_coef)
    model.terminal_on_life_loss = algorithm.terminal_on_life_loss
    if isinstance(algorithm, ClippedSettings):
        model.lean = algorithm.no_reward_logit_noise
    model.reward_scale = RewardScale(settings.approach.reward, env.num_envs, model.gamma)
    return model


def _off_policy(settings: RunSettings, algorithm: OffPolicySettings, env: RolloutVecEnv) -> OffPolicyRollouts:
    given = off_policy_arguments(algorithm) | {"replay_buffer_class": RamReplayBuffer}
    model: OffPolicyRollouts
    if isinstance(algorithm, QrDqnSettings):
        model = RolloutQRDQN(RamQuantilePolicy, env, seed=settings.seed, device="cpu", **given)
    else:
        model = RolloutDQN(RamQPolicy, env, seed=settings.seed, device="cpu", **given)
    model.buffer.reward_scale = RewardScale(settings.approach.reward, env.num_envs, model.gamma)
    model.buffer.features = env.features()
    model.buffer.terminal_on_life_loss = algorithm.terminal_on_life_loss
    return model


def off_policy_arguments(algorithm: OffPolicySettings) -> dict[str, Any]:
    """What `DQN` of Stable-Baselines3 or `QRDQN` of sb3-contrib is given, besides environment and seed."""
    own = ("algorithm", "learning_rate", "network", "n_quantiles", "terminal_on_life_loss")
    quantiles = {"n_quantiles": algorithm.n_quantiles} if isinstance(algorithm, QrDqnSettings) else {}
    return {
        **{name: getattr(algorithm, name) for name in type(algorithm).model_fields if name not in own},
        "learning_rate": schedule(algorithm.learning_rate),
        "policy_kwargs": {"network": algorithm.network, **quantiles},
    }


def ppo_arguments(algorithm: ClippedSettings) -> dict[str, Any]:
    """What `PPO` of Stable-Baselines3 or `RecurrentPPO` of sb3-contrib is given, besides environment and seed."""
    given = arguments(algorithm)
    # Stable-Baselines3's own epsilon. Unfused, Adam's many small operations take an eighth of learning's time.
    optimizer: dict[str, Any] = {"eps": 1e-5, "fused": True}
    if algorithm.weight_decay:
        given["policy_kwargs"]["optimizer_class"] = torch.optim.AdamW
        optimizer["weight_decay"] = algorithm.weight_decay
    given["policy_kwargs"]["optimizer_kwargs"] = optimizer
    return given | {
        "batch_size": algorithm.batch_size,
        "n_epochs": algorithm.n_epochs,
        "clip_range": schedule(algorithm.clip_range),
    }


def arguments(algorithm: ActorCriticSettings) -> dict[str, Any]:
    """What any on-policy algorithm of Stable-Baselines3 is given, besides environment and seed."""
    return {
        "learning_rate": schedule(algorithm.learning_rate),
        "n_steps": algorithm.n_steps,
        "gamma": algorithm.gamma,
        "gae_lambda": algorithm.gae_lambda,
        "ent_coef": _falling(algorithm.ent_coef)(1.0),
        "vf_coef": algorithm.vf_coef,
        "max_grad_norm": algorithm.max_grad_norm,
        "policy_kwargs": {"network": algorithm.network},
    }
