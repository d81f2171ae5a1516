"""sb3-contrib's RecurrentPPO with rollouts from the worker pool; training is its own `train()`.

It trains on sequences, each starting from a recurrent state, which the workers record with every step. The override of
`_process_sequence` and the fields of the rollout buffer are internals of sb3-contrib, last tried with 2.9.2.
"""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.buffers import RolloutBuffer
from torch import nn

from tasks.arcade.learner.networks import ActorCritic
from tasks.arcade.learner.on_policy import OnPolicyRolloutMixin
from tasks.arcade.rollouts.on_policy import Rollout
from tasks.arcade.rollouts.recurrent import RecurrentRollout
from tasks.arcade.settings.networks import RecurrentNetworkSettings


class RecurrentRamPolicy(RecurrentActorCriticPolicy):
    """sb3-contrib's recurrent policy: an LSTM each for actor and critic, then the layers of a `NetworkSettings`."""

    def __init__(self, *args: Any, network: RecurrentNetworkSettings, **kwargs: Any) -> None:
        self._network = network
        super().__init__(*args, **kwargs | {"lstm_hidden_size": network.lstm, "enable_critic_lstm": True})

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = ActorCritic(self.lstm_output_dim, self._network)  # type: ignore[assignment]

    @staticmethod
    def _process_sequence(
        features: torch.Tensor,
        lstm_states: tuple[torch.Tensor, torch.Tensor],
        episode_starts: torch.Tensor,
        lstm: nn.LSTM,
    ) -> tuple[torch.Tensor, Any]:
        # sb3-contrib iterates over the steps as soon as any episode starts. In training, episodes only start at the
        # start of a sequence: resetting the state beforehand is equivalent, and takes a third of the time.
        starts = episode_starts.reshape(lstm_states[0].shape[1], -1)
        kept = (1 - starts[:, 0]).reshape(1, -1, 1)
        before = (kept * lstm_states[0], kept * lstm_states[1])
        later = torch.cat([torch.zeros_like(starts[:, :1]), starts[:, 1:]], dim=1)
        return RecurrentActorCriticPolicy._process_sequence(features, before, later.flatten(), lstm)


class RolloutRecurrentPPO(OnPolicyRolloutMixin, RecurrentPPO):
    """RecurrentPPO with rollouts from the worker pool."""

    def _fill(self, buffer: RolloutBuffer, rollout: Rollout) -> None:
        super()._fill(buffer, rollout)
        assert isinstance(buffer, RecurrentRolloutBuffer)
        assert isinstance(rollout, RecurrentRollout)
        rows = (buffer.hidden_states_pi, buffer.cell_states_pi, buffer.hidden_states_vf, buffer.cell_states_vf)
        for row, states in enumerate(rows):
            states[:, 0] = rollout.states[:, :, row]
