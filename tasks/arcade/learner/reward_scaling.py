"""Reward transformations for learning."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd

from tasks.arcade.policies.actor_critic import Floats


class RewardScaler:
    """Transforms rewards as `ApproachSettings.reward` specifies, with running statistics of the discounted return.

    Attributes:
        no_reward: whether the last rollout had no reward at all.
    """

    def __init__(self, kind: str, n_envs: int, gamma: float) -> None:
        self._kind, self._gamma = kind, gamma
        self._discounted = np.zeros(n_envs)
        self._running = RunningMeanStd(shape=())
        self.no_reward = False

    def state(self) -> dict[str, Any]:
        """Return the running statistics as plain numbers."""
        running = {"mean": float(self._running.mean), "var": float(self._running.var), "count": self._running.count}
        return {"discounted": self._discounted.tolist(), "no_reward": self.no_reward, **running}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`."""
        self._discounted = np.array(state["discounted"])
        self._running.mean, self._running.var = np.array(state["mean"]), np.array(state["var"])
        self._running.count = state["count"]
        self.no_reward = state.get("no_reward", False)

    def __call__(self, rewards: Floats, starts: Floats) -> Floats:
        """Update the statistics and return the transformed rewards; float32 of shape (n_steps, n_envs)."""
        self.update(rewards, starts)
        return self.transform(rewards)

    def update(self, rewards: Floats, starts: Floats) -> None:
        """Update the statistics with a rollout: rewards and episode starts, float32 of shape (n_steps, n_envs)."""
        self.no_reward = not rewards.any()
        if self._kind not in ("scaled", "root"):
            return
        for reward, start in zip(self._compressed(rewards), starts, strict=True):
            self._discounted = self._discounted * self._gamma * (1 - start) + reward
            self._running.update(self._discounted)

    def transform(self, rewards: Floats) -> Floats:
        """Return rewards of any shape, transformed by the current statistics."""
        if self._kind == "raw":
            return rewards
        if self._kind == "sign":
            signs: Floats = np.sign(rewards)
            return signs
        deviation = float(np.sqrt(self._running.var + 1e-8))
        scaled: Floats = np.clip(self._compressed(rewards) / np.float32(deviation), -10, 10)
        return scaled

    def _compressed(self, rewards: Floats) -> Floats:
        if self._kind == "scaled":
            return rewards
        roots: Floats = np.sign(rewards) * np.sqrt(np.abs(rewards))
        return roots
