"""PPO that trains its policy network and its value network side by side, each on its own thread.

The two have nothing in common but the minibatches and the norm of their gradients. `TwoNetworkPPO.train` executes the
operations of `PPO.train` in the same order, last compared with Stable-Baselines3 2.9.2, so weights and metrics are
bit-identical. It saves time by the second thread, by one copy of a minibatch instead of two, and by the distribution
objects. (torch's own threads split matrix products, which changes sums, and wait for each other at every layer.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.utils import explained_variance
from torch import nn

from tasks.arcade.learner.networks import ActorCritic
from tasks.arcade.learner.vec_env import DivergedError

_MIN_MULTIPLICATIONS = 2 * 10**7
"""Rows times weights of the smaller network, below which a second thread costs more time than it saves."""

_T = TypeVar("_T")
_S = TypeVar("_S")


class Minibatch(NamedTuple):
    """Rows of a rollout.

    Attributes:
        observations: float32 of shape (n, n_features).
        actions: int64 of shape (n, 1).
        log_probs: log-probabilities with which the actions were sampled, float32 of shape (n,).
        advantages: float32 of shape (n,).
        returns: float32 of shape (n,).
    """

    observations: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


@dataclass(frozen=True)
class _Network:
    """One of the two networks, and its parameters."""

    layers: nn.Sequential
    weights: list[nn.Parameter]

    @classmethod
    def of(cls, *layers: nn.Module) -> _Network:
        network = nn.Sequential(*layers)
        return cls(network, list(network.parameters()))

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(array.numel() for array in self.weights)

    def set_gradients(self, gradients: tuple[torch.Tensor, ...]) -> None:
        """Set what the optimizer uses."""
        for weights, gradient in zip(self.weights, gradients, strict=True):
            weights.grad = gradient


class _PolicyStep(NamedTuple):
    """Gradients of the policy network for a minibatch, and metrics of shape ()."""

    gradients: tuple[torch.Tensor, ...]
    loss: torch.Tensor
    entropy_loss: torch.Tensor
    clip_fraction: torch.Tensor
    approx_kl: torch.Tensor


class _ValueStep(NamedTuple):
    """Gradients of the value network for a minibatch, and its loss, of shape ()."""

    gradients: tuple[torch.Tensor, ...]
    loss: torch.Tensor


class TwoNetworkPPO(PPO):
    """PPO that trains its two networks side by side, unless they have layers in common.

    `clip_range_vf` and `target_kl` are not supported.
    """

    def train(self) -> None:
        """Update the networks by the rollout, as `PPO.train` does.

        Raises:
            DivergedError: If the logits become NaN.
        """
        extractor = cast("ActorCritic", self.policy.mlp_extractor)
        if extractor.shares_layers:
            super().train()
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        pi = _Network.of(extractor.policy_net, self.policy.action_net)
        vf = _Network.of(extractor.value_net, self.policy.value_net)
        weights = list(self.policy.parameters())
        worthwhile = self.batch_size * min(pi.size, vf.size) >= _MIN_MULTIPLICATIONS
        run = _side_by_side if worthwhile else _in_turn
        steps = list[tuple[_PolicyStep, _ValueStep]]()
        minibatches = self._minibatches()
        minibatch = next(minibatches, None)
        while minibatch:
            policy_step, (value_step, minibatch) = run(
                partial(self._policy_step, pi, minibatch, clip_range),
                partial(self._value_step, vf, minibatch, minibatches),
            )
            pi.set_gradients(policy_step.gradients)
            vf.set_gradients(value_step.gradients)
            nn.utils.clip_grad_norm_(weights, self.max_grad_norm)
            self.policy.optimizer.step()
            steps.append((policy_step, value_step))
        self._n_updates += self.n_epochs
        self._record(steps, clip_range)

    def _minibatches(self) -> Iterator[Minibatch]:
        buffer, n_rows = self.rollout_buffer, self.n_steps * self.n_envs
        actions = torch.from_numpy(buffer.actions.reshape(n_rows, 1)).long()
        arrays = (buffer.log_probs, buffer.advantages, buffer.returns)
        others = [torch.from_numpy(array.reshape(n_rows)) for array in arrays]
        rollout = (torch.from_numpy(buffer.observations.reshape(n_rows, -1)), actions, *others)
        for _ in range(self.n_epochs):
            # Stable-Baselines3 numbers the rows environment by environment, and stores them step by step.
            numbers = torch.from_numpy(np.random.permutation(n_rows))
            order = numbers % self.n_steps * self.n_envs + numbers // self.n_steps
            for rows in order.split(self.batch_size):  # type: ignore[no-untyped-call]
                yield Minibatch(*(array.index_select(0, rows) for array in rollout))

    def _policy_step(self, network: _Network, minibatch: Minibatch, clip_range: float) -> _PolicyStep:
        advantages = minibatch.advantages
        if len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        with torch.enable_grad():
            logits = network.layers(minibatch.observations)
            logits = logits - logits.logsumexp(-1, keepdim=True)
            log_probs = logits.gather(-1, minibatch.actions).squeeze(-1)
            # An action of probability 0 has an entropy of 0, not of NaN.
            entropy = -(logits.clamp(min=torch.finfo(logits.dtype).min) * logits.softmax(-1)).sum(-1)
            log_ratio = log_probs - minibatch.log_probs
            ratio = log_ratio.exp()
            clipped = advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
            loss = -torch.min(advantages * ratio, clipped).mean()
            entropy_loss = -entropy.mean()
            gradients = torch.autograd.grad(loss + self.ent_coef * entropy_loss, network.weights)
        if logits.isnan().any():
            raise DivergedError.of_logits(self.num_timesteps)
        ratio, log_ratio = ratio.detach(), log_ratio.detach()
        clip_fraction = ((ratio - 1).abs() > clip_range).float().mean()
        approx_kl = (ratio - 1 - log_ratio).mean()
        return _PolicyStep(gradients, loss.detach(), entropy_loss.detach(), clip_fraction, approx_kl)

    def _value_step(
        self, network: _Network, minibatch: Minibatch, later: Iterator[Minibatch]
    ) -> tuple[_ValueStep, Minibatch | None]:
        """Return the step, and the next minibatch, because this thread has less to do than the other."""
        with torch.enable_grad():
            loss = nn.functional.mse_loss(minibatch.returns, network.layers(minibatch.observations).flatten())
            gradients = torch.autograd.grad(self.vf_coef * loss, network.weights)
        return _ValueStep(gradients, loss.detach()), next(later, None)

    def _record(self, steps: list[tuple[_PolicyStep, _ValueStep]], clip_range: float) -> None:
        """Log what Stable-Baselines3 logs: means of all minibatches, except that `approx_kl` is of the last epoch."""
        policy_steps, value_steps = zip(*steps, strict=True)
        last_epoch = policy_steps[-(len(steps) // self.n_epochs) :]
        policy, value = steps[-1]
        loss = policy.loss + self.ent_coef * policy.entropy_loss + self.vf_coef * value.loss
        flat = self.rollout_buffer.swap_and_flatten
        values, returns = (flat(array).flatten() for array in (self.rollout_buffer.values, self.rollout_buffer.returns))
        for name, metric in {
            "entropy_loss": np.mean([step.entropy_loss.item() for step in policy_steps]),
            "policy_gradient_loss": np.mean([step.loss.item() for step in policy_steps]),
            "value_loss": np.mean([step.loss.item() for step in value_steps]),
            "approx_kl": np.mean([step.approx_kl.numpy() for step in last_epoch]),
            "clip_fraction": np.mean([step.clip_fraction.item() for step in policy_steps]),
            "loss": loss.item(),
            "explained_variance": explained_variance(values, returns),
            "clip_range": clip_range,
        }.items():
            self.logger.record(f"train/{name}", metric)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")


def _in_turn(one: Callable[[], _S], other: Callable[[], _T]) -> tuple[_S, _T]:
    return one(), other()


def _side_by_side(here: Callable[[], _S], there: Callable[[], _T]) -> tuple[_S, _T]:
    later = _second_thread().submit(there)
    try:
        return here(), later.result()
    finally:
        # Even after an exception, wait until the other thread has stopped reading weights.
        later.exception()


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "value-network", initializer=torch.set_num_threads, initargs=(1,))
