"""Stable-Baselines3 trains on the workers' rollouts as on its own; the same seed gives the same run."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.training_runs import (
    MidOptimizationInterruptRecorder,
    MidRolloutInterruptRecorder,
    NoOpCallback,
    Recorder,
    assert_resume_is_bit_for_bit,
    assert_same_end,
    close_weights,
    equal_weights,
    small_approach,
    small_run,
    with_scaled_ram,
)
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from tasks.arcade.checkpoints.training_state import read_state
from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.learner import DivergedError, ResumePoint, RewardScaler, build_model, schedule, train
from tasks.arcade.learner.networks import weights_as_arrays
from tasks.arcade.learner.on_policy import OnPolicyRolloutMixin
from tasks.arcade.rollouts.environment import LOGIT_NOISE
from tasks.arcade.rollouts.on_policy import RolloutSettings
from tasks.arcade.rollouts.specification import rollout_settings
from tasks.arcade.rollouts.worker_pool import WorkerPool
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.approaches import APPROACHES, approach
from tasks.arcade.settings.run import ApproachSettings, RunSettings

LEARNING = [name for name in APPROACHES if name not in ("random", "noop")]


@pytest.mark.parametrize("name", LEARNING)
def test_every_approach_trains_logs_and_saves_checkpoints(name: str) -> None:
    recorder, settings = Recorder(), small_run(small_approach(name))
    end = train(settings, 2, recorder)
    assert (settings.steps, settings.last_step) == (500, 512)
    assert end.step == settings.last_step, "the last rollout is completed"
    assert end.mean_return is not None
    assert end.mean_return <= 0
    assert [checkpoint.step for checkpoint in recorder.checkpoints] == [256, 512]
    assert [progress.step for progress in recorder.reports] == [128, 256, 384, 512]
    assert {progress.steps for progress in recorder.reports} == {512}, "never more steps than there are"
    if name == "a2c":
        assert not recorder.logged, "A2C logs every hundredth rollout"
        return
    last = recorder.logged[-1][1]
    wanted = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "time/total_timesteps"}
    if name in ("dqn", "qrdqn"):
        assert [step for step, _ in recorder.logged] == [256, 384, 512], "logged every 4 episodes"
        wanted |= {"rollout/exploration_rate", "train/loss", "train/n_updates", "train/learning_rate"}
    else:
        assert [step for step, _ in recorder.logged] == [128, 256, 384, 512]
    if name not in ("dqn", "qrdqn"):
        wanted |= {"train/approx_kl", "train/clip_fraction", "train/entropy_loss", "train/value_loss", "train/loss"}
    assert wanted <= last.keys()
    assert last["rollout/ep_len_mean"] == 40


@pytest.mark.parametrize("name", ["random", "noop"])
def test_baseline_without_learning_cannot_be_trained(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} does not learn"):
        train(small_run(approach(name), steps=1), 1, Recorder())


@pytest.mark.parametrize("pipelined", [False, True])
def test_weights_depend_on_the_seed_not_on_the_number_of_workers(pipelined: bool) -> None:
    settings = small_approach(reward="scaled", pipelined=pipelined)
    finals = {}
    for workers in (1, 2, 4):
        recorder = Recorder()
        train(small_run(settings, every=10_000), workers, recorder)
        finals[workers] = recorder.checkpoints[-1]
    for workers in (2, 4):
        assert finals[workers].statistics.count == finals[1].statistics.count
        for name, array in finals[1].weights.items():
            assert (finals[workers].weights[name] == array).all(), name
    recorder = Recorder()
    train(small_run(settings, every=10_000, seed=1), 2, recorder)
    assert any((recorder.checkpoints[-1].weights[name] != array).any() for name, array in finals[1].weights.items())


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "Breakout-v0"])
@pytest.mark.parametrize(
    ("name", "pipelined"), [("ppo-tuned", False), ("ppo-tuned", True), ("ppo-embeddings", False), ("a2c", False)]
)
def test_resume_is_bit_for_bit(name: str, pipelined: bool, env_id: str, tmp_path: Path) -> None:
    assert_resume_is_bit_for_bit(name, pipelined, env_id, tmp_path)


@pytest.mark.parametrize("pipelined", [False, True])
def test_resume_keeps_logit_noise(pipelined: bool, tmp_path: Path) -> None:
    """The first thousand steps of Freeway have no reward."""
    assert_resume_is_bit_for_bit("ppo-tuned", pipelined, "ALE/Freeway-v5", tmp_path)
    state = read_state(tmp_path / "0-state", "0" * 64)
    assert state.counters.reward_scale["no_reward"]
    assert (LOGIT_NOISE in state.playing) == pipelined


@pytest.mark.parametrize("pipelined", [False, True])
def test_interrupt_saves_the_state_before_the_rollout_and_changes_nothing(pipelined: bool) -> None:
    longer = small_approach(pipelined=pipelined)
    settings = small_run(
        longer.model_copy(update={"algorithm": longer.algorithm.model_copy(update={"n_steps": 512})}),
        steps=4500, every=100_000,
    )  # fmt: skip
    # On a fast machine a rollout of short steps would be over before anybody is asked.
    game = settings.game.model_copy(update={"frame_skip": 12, "max_episode_frames": 1200})
    settings = settings.model_copy(update={"game": game})
    uninterrupted, interrupted, resumed = Recorder(), MidRolloutInterruptRecorder(), Recorder()
    train(settings, 2, uninterrupted)
    train(settings, 2, interrupted)
    assert [one.step for one in interrupted.checkpoints] == [2048, 6144]
    train(settings, 1, resumed, ResumePoint(interrupted.checkpoints[0], interrupted.states[0]))
    for other in (interrupted, resumed):
        assert_same_end(other, uninterrupted)


@pytest.mark.parametrize("pipelined", [False, True])
def test_interrupt_during_a_long_optimization_saves_the_state_before_its_rollout(
    pipelined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_run(small_approach(pipelined=pipelined), every=100_000)
    uninterrupted, interrupted, resumed = Recorder(), MidOptimizationInterruptRecorder(), Recorder()
    train(settings, 2, uninterrupted)
    monkeypatch.setattr("tasks.arcade.learner.training.LONG_OPTIMIZATION_SECONDS", 0)
    train(settings, 2, interrupted)
    assert [one.step for one in interrupted.checkpoints] == [128, 512]
    train(settings, 1, resumed, ResumePoint(interrupted.checkpoints[0], interrupted.states[0]))
    for other in (interrupted, resumed):
        assert_same_end(other, uninterrupted)


def test_pipelined_rollouts_use_weights_one_update_old() -> None:
    plain, pipelined = Recorder(), Recorder()
    for recorder, ahead in ((plain, False), (pipelined, True)):
        train(small_run(small_approach(pipelined=ahead), steps=384, every=128), 2, recorder)
    played = [state.playing for state in pipelined.states]
    assert not any(state.playing for state in plain.states)
    assert played[-1] == {}, "no rollout is started that would not be trained on"
    assert close_weights(pipelined.checkpoints[0].weights, plain.checkpoints[0].weights), (
        "the first rollout is the same"
    )
    assert not close_weights(pipelined.checkpoints[1].weights, plain.checkpoints[1].weights)
    weights = {name: array for name, array in played[1].items() if name != LOGIT_NOISE}
    assert equal_weights(weights, pipelined.checkpoints[0].weights)
    assert not equal_weights(weights, pipelined.checkpoints[1].weights)


def test_save_and_load_of_stable_baselines3_keep_the_policy(tmp_path: Path) -> None:
    """`save` and `PPO.load` work unchanged, and the loaded policy has the weights that the workers play with."""
    settings = small_run(small_approach("ppo"))
    with WorkerPool(RolloutSettings(settings.game, settings.approach, 0), 1) as pool:
        model = build_model(settings, pool)
        model.learn(256)
        model.save(tmp_path / "model.zip")
        arrays = weights_as_arrays(model.policy)
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    assert loaded.num_timesteps == 256
    for name, tensor in loaded.policy.state_dict().items():
        assert (tensor.numpy() == arrays[name]).all()


def test_stable_baselines3_callbacks_are_called_per_step(tmp_path: Path) -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 300

    settings = small_run(small_approach("ppo"))
    with WorkerPool(RolloutSettings(settings.game, settings.approach, 0), 1) as pool:
        model = build_model(settings, pool)
        model.learn(10_000, callback=[CheckpointCallback(16, str(tmp_path)), Stop()])
    assert model.num_timesteps == 300
    assert len(list(tmp_path.glob("*.zip"))) == 300 // 4 // 16


def test_rollout_buffer_equals_stable_baselines3s_own() -> None:
    """Collect the same episodes by Stable-Baselines3 and by the workers, and compare the buffers."""
    settings = small_run(
        small_approach("ppo", n_envs=1).model_copy(update={"algorithm": PpoSettings(n_steps=100, batch_size=50)})
    )
    with WorkerPool(RolloutSettings(settings.game, settings.approach, 0), 1) as pool:
        ours = build_model(settings, pool)
        ours._setup_learn(100)
        ours.collect_rollouts(ours.env, NoOpCallback().init(ours), ours.rollout_buffer, 100)
    actions = ours.rollout_buffer.actions[:, 0, 0].astype(int).tolist()
    reset_seed, _ = np.random.SeedSequence(0, spawn_key=(0, 0)).generate_state(2)
    theirs = PPO(
        "MlpPolicy",
        DummyVecEnv([lambda: with_scaled_ram(make_env(settings.game))]),
        n_steps=100,
        batch_size=50,
        device="cpu",
    )
    theirs.policy.load_state_dict(ours.policy.state_dict())
    theirs.policy.forward = _replaying(theirs.policy, actions)  # type: ignore[method-assign]
    theirs.env.seed(int(reset_seed))
    theirs._setup_learn(100)
    theirs.collect_rollouts(theirs.env, NoOpCallback().init(theirs), theirs.rollout_buffer, 100)
    for name in ("observations", "rewards", "episode_starts", "values", "log_probs", "advantages", "returns"):
        one, other = getattr(ours.rollout_buffer, name), getattr(theirs.rollout_buffer, name)
        assert np.allclose(one, other, atol=1e-4), name
    assert ours.rollout_buffer.episode_starts.sum() == 3


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo"])
def test_terminal_on_life_loss_ends_returns_at_a_lost_life(name: str) -> None:
    approach_ = small_approach(name, n_envs=2, reward="raw")
    whole, cut = (
        _one_rollout(
            approach_.model_copy(
                update={
                    "algorithm": approach_.algorithm.model_copy(
                        update={"n_steps": 416, "gae_lambda": 1.0, "terminal_on_life_loss": cut}
                    )
                }
            )
        )
        for cut in (False, True)
    )
    assert (whole.observations == cut.observations).all()
    assert (whole.episode_starts == cut.episode_starts).all(), (
        "an episode has all its lives, and a memory lasts as long"
    )
    returns, rewards, gamma = cut.returns, cut.rewards, 0.99
    goes_on = np.isclose(returns[:-1], rewards[:-1] + gamma * returns[1:], atol=1e-3)
    ends = np.isclose(returns[:-1], rewards[:-1], atol=1e-5) & ~goes_on
    assert (goes_on | ends).all()
    assert ends.sum() > whole.episode_starts[1:].sum() > 0


def test_logit_noise_follows_a_rollout_without_reward() -> None:
    """In Freeway random play earns nothing; with logit noise some of 16 environments do, and then it is off again."""
    settings = RunSettings(
        game=resolve("ALE/Freeway-v5"), approach=approach("ppo-tuned"), seed=1, steps=20_000, checkpoint_every=20_000
    )
    rollouts = rollout_settings(settings.game, settings.approach, settings.seed)
    with WorkerPool(rollouts, 2) as pool:
        model = build_model(settings, pool)
        assert isinstance(model, OnPolicyRolloutMixin)
        model._setup_learn(20_000)
        rewarded, leant = [], []
        for _ in range(3):
            model.collect_rollouts(model.env, NoOpCallback().init(model), model.rollout_buffer, 256)
            leant.append(LOGIT_NOISE in model.env.rollout_weights)
            rewarded.append(not model.reward_scaler.no_reward)
    assert leant == [False, True, False]
    assert rewarded[:2] == [False, True]


def _one_rollout(approach_: ApproachSettings) -> RolloutBuffer:
    rollouts = rollout_settings(resolve("ALE/Breakout-v5"), approach_, 1)
    settings = RunSettings(
        game=rollouts.game, approach=approach_, seed=1, steps=rollouts.n_steps, checkpoint_every=10_000
    )
    with WorkerPool(rollouts, 1) as pool:
        model = build_model(settings, pool)
        assert isinstance(model, OnPolicyRolloutMixin)
        model._setup_learn(832)
        model.collect_rollouts(model.env, NoOpCallback().init(model), model.rollout_buffer, 416)
    return model.rollout_buffer


def _replaying(policy, actions: list[int]):
    """Return Stable-Baselines3's forward pass with predefined actions."""
    left = iter(actions)

    def forward(observations: torch.Tensor, deterministic: bool = False):
        action = torch.tensor([next(left)])
        values, log_prob, _ = policy.evaluate_actions(observations, action)
        return action, values, log_prob

    return forward


def test_reward_transformations() -> None:
    rewards = np.array([[5, 0], [-2, 100]], np.float32)
    starts = np.array([[1, 1], [0, 0]], np.float32)
    assert (RewardScaler("raw", 2, 0.9)(rewards, starts) == rewards).all()
    assert (RewardScaler("sign", 2, 0.9)(rewards, starts) == [[1, 0], [-1, 1]]).all()
    scaled = RewardScaler("scaled", 2, 0.9)(rewards, starts)
    discounted = np.array([5, 0, 5 * 0.9 - 2, 100])
    assert np.allclose(scaled, rewards / discounted.std(), rtol=1e-2)
    roots = np.array([[5**0.5, 0], [-(2**0.5), 10]])
    discounted = np.array([5**0.5, 0, 5**0.5 * 0.9 - 2**0.5, 10])
    assert np.allclose(RewardScaler("root", 2, 0.9)(rewards, starts), roots / discounted.std(), rtol=1e-2)


def test_schedules() -> None:
    falling, to_a_tenth = schedule("lin_5e-4"), schedule("lin_5e-4_5e-5")
    assert callable(falling)
    assert callable(to_a_tenth)
    assert (falling(1.0), falling(0.0)) == (5e-4, 0)
    assert (to_a_tenth(1.0), to_a_tenth(0.0)) == (5e-4, 5e-5)
    assert to_a_tenth(-0.1) == 5e-5, "the last rollout goes past the end"
    in_half = schedule("lin_5e-4_1e-4_0.5")
    assert callable(in_half)
    assert [in_half(remaining) for remaining in (1.0, 0.75, 0.5, 0.25, 0.0)] == pytest.approx(
        [5e-4, 3e-4, 1e-4, 1e-4, 1e-4]
    )
    for wrong in ("lin_5e-4_1e-4_0", "lin_5e-4_1e-4_1.5", "lin_5e-4_1e-4_0.0", "lin_5.4.3"):
        with pytest.raises(ValueError, match="learning_rate"):
            PpoSettings(learning_rate=wrong)
    assert schedule(3e-4) == 3e-4
    with pytest.raises(ValueError, match="learning_rate"):
        PpoSettings(learning_rate="linear")


@pytest.mark.parametrize("pipelined", [False, True])
def test_early_stop_saves_a_checkpoint(pipelined: bool) -> None:
    recorder = Recorder(stop_at=128)
    settings = small_approach("ppo", pipelined=pipelined)
    rollout = settings.n_envs * settings.algorithm.n_steps
    end = train(small_run(settings, steps=20 * rollout), 1, recorder)
    assert end.step == -(-128 // rollout) * rollout
    assert [checkpoint.step for checkpoint in recorder.checkpoints][-1] == end.step
    assert recorder.states[-1].counters.step == end.step


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["ppo", "a2c", "dqn"])
def test_divergence_raises_before_a_checkpoint_is_saved(name: str) -> None:
    recorder, settings = Recorder(), small_approach(name)
    settings = settings.model_copy(
        update={"algorithm": settings.algorithm.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30})}
    )
    with pytest.raises(DivergedError) as refused:
        train(small_run(settings, every=1), 1, recorder)
    assert re.fullmatch(
        r"training diverged at step [\d,]+: (train/\w*loss is (nan|-?inf)|the policy's logits became non-finite)\. "
        "Choose a smaller learning_rate",
        str(refused.value),
    )
    for checkpoint in recorder.checkpoints:
        assert all(np.isfinite(array).all() for array in checkpoint.weights.values())


def test_non_finite_metric_other_than_a_loss_is_not_divergence() -> None:
    """Without rewards and with gamma 0, the explained variance is NaN."""
    recorder, settings = Recorder(), small_approach("ppo", reward="raw")
    settings = settings.model_copy(update={"algorithm": settings.algorithm.model_copy(update={"gamma": 0.0})})
    train(small_run(settings, every=128), 1, recorder)
    assert np.isnan(recorder.logged[-1][1]["train/explained_variance"])
    assert [checkpoint.step for checkpoint in recorder.checkpoints] == [128, 256, 384, 512]
