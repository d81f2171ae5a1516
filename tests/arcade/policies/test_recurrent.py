"""The NumPy recurrent policy matches torch in play, in videos and in verification; each episode has its own state."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation
from helpers.episodes import CAPTION, network_checkpoint, play_checkpoint
from helpers.torch_reference import ACTION, FEATURES, by_torch, some_statistics, two_rams
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates

from tasks.arcade.checkpoints.checkpoint import Checkpoint
from tasks.arcade.episodes.playing import play, replay
from tasks.arcade.episodes.verify import verify, verify_decisions
from tasks.arcade.learner import export
from tasks.arcade.learner.networks import weights_as_arrays
from tasks.arcade.learner.recurrent import RecurrentRamPolicy
from tasks.arcade.policies.actor_critic import sample
from tasks.arcade.policies.features import Features
from tasks.arcade.policies.recurrent import RecurrentPolicy, RecurrentState
from tasks.arcade.policies.recurrent_saliency import RecurrentSaliency
from tasks.arcade.settings.networks import RecurrentNetworkSettings
from tasks.arcade.video.panel import PanelRenderer
from tasks.arcade.video.policy_view import PolicyView
from tasks.arcade.video.render import render_video
from tasks.arcade.video.verify import verify_frames

NETWORKS = {
    "linear": RecurrentNetworkSettings(lstm=16, pi=(), vf=()),
    "relu": RecurrentNetworkSettings(lstm=128, pi=(64,), vf=(32,), activation="relu"),
    "shared body and norm": RecurrentNetworkSettings(lstm=24, body=(40,), pi=(16,), vf=(), layer_norm=True),
}


def torch_policy(network: RecurrentNetworkSettings, n_features: int = 256) -> RecurrentRamPolicy:
    torch.manual_seed(0)
    seen = spaces.Box(-np.inf, np.inf, (n_features,), np.float32)
    policy = RecurrentRamPolicy(seen, spaces.Discrete(6), lambda _: 0.0, network=network)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return policy


def as_states(memory: RecurrentState) -> RNNStates:
    said, held, judged, weighed = (torch.from_numpy(memory[:, part].copy())[None] for part in range(4))
    return RNNStates((said, held), (judged, weighed))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_numpy_forward_pass_matches_torch_over_steps_and_episode_starts(network: RecurrentNetworkSettings) -> None:
    theirs, rng = torch_policy(network), np.random.default_rng(0)
    ours = RecurrentPolicy(network, 256, weights_as_arrays(theirs))
    memory, states = ours.initial_state(7), as_states(ours.initial_state(7))
    for step in range(12):
        rows = rng.normal(size=(7, 256)).astype(np.float32)
        starts = rng.random(7) < (1 if step == 0 else 0.2)
        memory[starts] = 0
        with torch.no_grad():
            given = torch.from_numpy(rows), states, torch.from_numpy(starts.astype(np.float32))
            actions, values, log_probs, states = theirs(*given, deterministic=True)
        memory = ours.step(rows, memory)
        logits = ours.logits(memory)
        assert (logits.argmax(axis=1) == actions.numpy()).all()
        assert np.abs(sample(logits, _that_choose(logits, actions.numpy()))[1] - log_probs.numpy()).max() < 1e-5
        assert np.abs(ours.values(memory) - values[:, 0].numpy()).max() < 1e-5
        for part, state in enumerate((*states.pi, *states.vf)):
            assert np.abs(memory[:, part] - state[0].numpy()).max() < 1e-5


def _that_choose(logits: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Return uniform numbers that sample these actions."""
    odds = np.exp((logits - logits.max(axis=1, keepdims=True)).astype(np.float64))
    upper = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    rows = np.arange(len(actions))
    return upper[rows, actions] - odds[rows, actions] / odds.sum(axis=1) / 2


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_recurrent_state_does_not_depend_on_the_batch_bit_for_bit(network: RecurrentNetworkSettings) -> None:
    policy = RecurrentPolicy(network, 368, weights_as_arrays(torch_policy(network, 368)))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 16, 368)).astype(np.float32)

    def remembered(low: int, high: int) -> RecurrentState:
        memory = policy.initial_state(high - low)
        for step in rows:
            memory = policy.step(step[low:high], memory)
        return memory

    whole = remembered(0, 16)
    assert np.ptp(whole, axis=0).min() > 0
    for low, high in [*((at, at + 1) for at in range(16)), (5, 8), (1, 10)]:
        part = remembered(low, high)
        assert (part == whole[low:high]).all()
        assert (policy.logits(part) == policy.logits(whole)[low:high]).all()
        assert (policy.values(part) == policy.values(whole)[low:high]).all()


@pytest.mark.parametrize("starts", [[0, 0, 0], [1, 0, 1], [1, 1, 1]])
@pytest.mark.parametrize("later", [False, True])
def test_sequences_are_processed_as_in_sb3_contrib(starts: list[int], later: bool) -> None:
    torch.manual_seed(1)
    lstm, features = torch.nn.LSTM(5, 4), torch.randn(3 * 6, 5)
    before = (torch.randn(1, 3, 4), torch.randn(1, 3, 4))
    begins = torch.zeros(3, 6)
    begins[:, 0] = torch.tensor(starts)
    begins[1, 4] = float(later)
    given = features, before, begins.flatten(), lstm
    ours, theirs = (kind._process_sequence(*given) for kind in (RecurrentRamPolicy, RecurrentActorCriticPolicy))
    for one, other in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(ours[0], RecurrentRamPolicy._process_sequence(features, before, 1 - begins, lstm)[0])


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("kind", FEATURES)
def test_saliency_is_torchs_gradient(kind: str, network: RecurrentNetworkSettings) -> None:
    settings, (ram, previous) = FEATURES[kind], two_rams()
    statistics = some_statistics(settings)
    n_features = Features(settings, statistics).size
    policy = torch_policy(network, n_features)
    weights = weights_as_arrays(policy)
    rows = np.random.default_rng(2).normal(size=(3, 1, n_features)).astype(np.float32)
    player = RecurrentPolicy(network, n_features, weights)
    memory = player.initial_state(1)
    for row in rows:
        memory = player.step(row, memory)
    attention = RecurrentSaliency(settings, statistics, network, weights)
    ours = attention(ram, previous, ACTION, memory)
    theirs = by_torch(settings, statistics, policy, ram, previous, as_states(memory), torch.zeros(1))
    assert np.abs(theirs).max() > 1e-5
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert np.abs(ours - attention(ram, previous, ACTION, player.initial_state(1))).max() > 1e-3 * np.abs(theirs).max()


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return network_checkpoint("ALE/Asteroids-v5", "recurrent-ppo")


def test_every_episode_starts_with_a_zero_recurrent_state(checkpoint: Checkpoint) -> None:
    agent, game = checkpoint.agent(), checkpoint.settings.game
    one, again = (play(agent, game, 3, action_seed=4, deterministic=False, max_steps=30) for _ in range(2))
    assert one == again
    rams = [step.ram for step in replay(one)]
    both = agent.start_episode(), agent.start_episode()
    asked = [[decide(ram, ram, 0.5) for decide in both] for ram in rams]
    assert all(first == second for first, second in asked), "two episodes at once are apart"
    forgetful = [agent.start_episode()(ram, ram, 0.5) for ram in rams]
    assert forgetful[0] == asked[0][0]
    assert forgetful != [first for first, _ in asked], "earlier observations matter"


def test_video_of_a_recurrent_policy_shows_its_decisions_and_verifies(checkpoint: Checkpoint, tmp_path: Path) -> None:
    trace, path = play_checkpoint(checkpoint, 12), tmp_path / "video.mp4"
    assert verify(trace).ok
    assert verify_decisions(trace, checkpoint.agent()).ok
    forgetting = {name: 0 * array if "hh" in name else array for name, array in checkpoint.weights.items()}
    assert not verify_decisions(trace, replace(checkpoint, weights=forgetting).agent()).ok
    render_video(trace, path, partial(PanelRenderer, checkpoint=checkpoint, caption=CAPTION))
    assert verify_frames(path).ok
    agent, mind = checkpoint.agent(), PolicyView(checkpoint)
    assert isinstance(agent.policy, RecurrentPolicy)
    memory, steps = agent.policy.initial_state(1), list(replay(trace))
    for before, step, action in zip([steps[0], *steps], steps, trace.actions, strict=False):
        memory = agent.policy.step(agent.features(step.ram[None], before.ram[None]), memory)
        thought = mind(step.ram, before.ram, action)
        odds = np.exp(agent.policy.logits(memory)[0].astype(np.float64))
        assert np.allclose(thought.bar_lengths, odds / odds.sum(), atol=1e-9)
        assert thought.value == agent.policy.values(memory)[0]
        assert thought.saliency.max() > 0


def test_exported_zip_plays_the_same_actions_in_sb3_contrib(tmp_path: Path) -> None:
    checkpoint = network_checkpoint("ALE/Pong-v5", "recurrent-ppo")
    export(checkpoint, tmp_path / "model.zip")
    model, decide = RecurrentPPO.load(tmp_path / "model.zip", device="cpu"), checkpoint.agent().start_episode()
    assert model.num_timesteps == checkpoint.step
    env = FrameStackObservation(gymnasium.make("ALE/Pong-v5", obs_type="ram"), 2)
    observation, _ = env.reset(seed=3)
    state, chosen = None, set()
    for step in range(200):
        previous, ram = np.asarray(observation)
        action, state = model.predict(observation, state, np.array([step == 0]), deterministic=True)
        assert action == decide(ram, previous, None)
        chosen.add(int(action))
        observation, *_ = env.step(action)
    assert len(chosen) > 1


def test_mismatched_weights_are_named() -> None:
    network = NETWORKS["linear"]
    weights = dict(weights_as_arrays(torch_policy(network)))
    weights["lstm_critic.weight_hh_l0"] = weights["lstm_critic.weight_hh_l0"][:, :-1]
    del weights["lstm_actor.bias_ih_l0"]
    with pytest.raises(ValueError, match=r"lstm_actor\.bias_ih_l0, lstm_critic\.weight_hh_l0"):
        RecurrentPolicy(network, 256, weights)
