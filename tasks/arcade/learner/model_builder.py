"""Build the Stable-Baselines3 algorithm of a run over its worker pool."""

from __future__ import annotations

from pkgutil import resolve_name

from tasks.arcade.emulator.emulator import action_names
from tasks.arcade.learner.off_policy import OffPolicyRolloutMixin
from tasks.arcade.learner.on_policy import OnPolicyRolloutMixin
from tasks.arcade.learner.vec_env import RolloutVecEnv
from tasks.arcade.policies.algorithms import algorithm_of
from tasks.arcade.rollouts.worker_pool import WorkerPool
from tasks.arcade.settings.run import RunSettings

Model = OnPolicyRolloutMixin | OffPolicyRolloutMixin


def build_model(settings: RunSettings, pool: WorkerPool) -> Model:
    """Return the seeded Stable-Baselines3 algorithm of a run, as `ALGORITHMS` declares it.

    Raises:
        ValueError: If the approach does not learn.
    """
    approach = settings.approach
    training = algorithm_of(approach).training
    if training is None:
        raise ValueError(f"approach {approach.name} does not learn: it has no model to train")
    env = RolloutVecEnv(pool, len(action_names(settings.game)))
    kind, policy, arguments = map(resolve_name, (training.model, training.policy, training.arguments))
    model: Model = kind(policy, env, seed=settings.seed, device="cpu", **arguments(approach.algorithm))
    model.configure(approach)
    return model
