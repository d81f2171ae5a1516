"""Running scale of the rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.running_mean_std import RunningMeanStd

from tasks.arcade.policies.actor_critic import Floats


class RewardScale:
    """What is learned from, made of the game's reward (`ApproachSettings.reward`).

    Attributes:
        silent: nothing was rewarded in the last rollout.
    """

    def __init__(self, kind: str, n_envs: int, gamma: float) -> None:
        self._kind, self._gamma = kind, gamma
        self._discounted = np.zeros(n_envs)
        self._running = RunningMeanStd(shape=())
        self.silent = False

    def state(self) -> dict[str, Any]:
        """Its running figures, as plain numbers."""
        running = {"mean": float(self._running.mean), "var": float(self._running.var), "count": self._running.count}
        return {"discounted": self._discounted.tolist(), "silent": self.silent, **running}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._discounted = np.array(state["discounted"])
        self._running.mean, self._running.var = np.array(state["mean"]), np.array(state["var"])
        self._running.count = state["count"]
        self.silent = state.get("silent", False)

    def __call__(self, rewards: Floats, starts: Floats) -> Floats:
        """Rewards to learn from; rewards and starts are float32 of shape (n_steps, n_envs)."""
        self.see(rewards, starts)
        return self.of(rewards)

    def see(self, rewards: Floats, starts: Floats) -> None:
        """Take a rollout's rewards into the running figures; float32 of shape (n_steps, n_envs) both."""
        self.silent = not rewards.any()
        if self._kind not in ("scaled", "root"):
            return
        for reward, start in zip(self._shrunk(rewards), starts, strict=True):
            self._discounted = self._discounted * self._gamma * (1 - start) + reward
            self._running.update(self._discounted)

    def of(self, rewards: Floats) -> Floats:
        """What to learn from these rewards, by the figures as they are now; any shape."""
        if self._kind == "raw":
            return rewards
        if self._kind == "sign":
            signs: Floats = np.sign(rewards)
            return signs
        deviation = float(np.sqrt(self._running.var + 1e-8))
        scaled: Floats = np.clip(self._shrunk(rewards) / np.float32(deviation), -10, 10)
        return scaled

    def _shrunk(self, rewards: Floats) -> Floats:
        if self._kind == "scaled":
            return rewards
        roots: Floats = np.sign(rewards) * np.sqrt(np.abs(rewards))
        return roots
