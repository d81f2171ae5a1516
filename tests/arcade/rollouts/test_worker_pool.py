"""Rollouts do not depend on the number of workers, and failing workers are reported."""

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.emulator.gymnasium_env import make_env
from tasks.arcade.policies.actor_critic import NetworkPolicy, Weights, weight_shapes
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.policies.features import Features, feature_size
from tasks.arcade.rollouts import worker_pool
from tasks.arcade.rollouts.environment import LOGIT_NOISE, EnvironmentState
from tasks.arcade.rollouts.on_policy import Rollout, RolloutPlayer, RolloutSettings
from tasks.arcade.rollouts.worker_pool import WorkerError, WorkerPool
from tasks.arcade.settings.algorithms import PpoSettings
from tasks.arcade.settings.approaches import approach
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.networks import NetworkSettings
from tasks.arcade.settings.run import ApproachSettings

ROOT = Path(__file__).parents[3]


def small(n_envs: int = 5, n_steps: int = 60, reward: str = "raw") -> ApproachSettings:
    algorithm = PpoSettings(n_steps=n_steps, network=NetworkSettings(pi=(16,), vf=(16,)))
    return approach("ppo-tuned").model_copy(update={"algorithm": algorithm, "n_envs": n_envs, "reward": reward})


def some_weights(settings: ApproachSettings, n_actions: int) -> Weights:
    assert isinstance(settings.algorithm, PpoSettings)
    generator = np.random.default_rng(0)
    shapes = weight_shapes(settings.algorithm.network, feature_size(settings.features), n_actions)
    return {name: generator.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def short_episodes(env_id: str = "ALE/Pong-v5") -> GameSettings:
    """Return settings with episodes truncated after 25 steps, so that rollouts contain episode ends."""
    return resolve(env_id).model_copy(update={"max_episode_frames": 100})


def same(one: Rollout, other: Rollout) -> bool:
    arrays = [name for name in vars(one) if name != "episodes"]
    return one.episodes == other.episodes and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays
    )


def a_rollout(pool: WorkerPool, weights: Weights) -> Rollout:
    pool.start_rollout(weights, Statistics.empty())
    rollout = pool.finish_rollout()
    assert rollout is not None
    return rollout


def kept(rollout: Rollout) -> Rollout:
    copies = {name: value.copy() for name, value in vars(rollout).items() if name != "episodes"}
    return Rollout(**copies, episodes=rollout.episodes)


@pytest.mark.parametrize("env_id", ["ALE/Pong-v5", "Breakout-v0"])
def test_rollouts_depend_neither_on_the_number_of_workers_nor_on_a_restore(env_id: str) -> None:
    settings = RolloutSettings(short_episodes(env_id), small(), seed=3)
    weights = some_weights(settings.approach, 6 if "Pong" in env_id else 4)
    played: dict[int, list[Rollout]] = {}
    for workers in (1, 2, 4):
        with WorkerPool(settings, workers) as pool:
            first = kept(a_rollout(pool, weights))
            states = pool.snapshot()
            second = kept(a_rollout(pool, weights))
            pool.restore(states)
            assert same(second, a_rollout(pool, weights)), "a restored pool continues identically"
            played[workers] = [first, second]
    assert first.episodes
    for one, other in zip(played[1], played[2], strict=True):
        assert same(one, other)
    for one, other in zip(played[1], played[4], strict=True):
        assert same(one, other)


def test_rollout_matches_gymnasium() -> None:
    """Compare observations, rewards, episode starts, values and bootstraps with Gymnasium and the policy."""
    settings = RolloutSettings(short_episodes(), small(n_envs=3, n_steps=80), seed=1)
    weights = some_weights(settings.approach, 6)
    arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in settings.layout().items()}
    episodes = RolloutPlayer(settings, range(3), arrays).play(weights, Statistics.empty(), lambda: None)
    rollout = Rollout(**arrays, episodes=tuple(episodes))
    assert isinstance(settings.approach.algorithm, PpoSettings)
    n_features = feature_size(settings.approach.features)
    policy = NetworkPolicy(settings.approach.algorithm.network, n_features, weights)
    features = Features(settings.approach.features, Statistics.empty())
    for column in range(3):
        env = make_env(settings.game)
        reset_seed, _ = np.random.SeedSequence(1, spawn_key=(0, column)).generate_state(2)
        ram, previous = env.reset(seed=int(reset_seed))[0], None
        episode_return, ends, shown = 0.0, 0, np.zeros((80, n_features), np.float32)
        for step in range(80):
            assert (rollout.rams[step, column] == ram).all()
            assert rollout.starts[step, column] == (previous is None)
            before = ram if previous is None else previous
            shown[step] = features(ram[None], before[None])
            previous = ram
            ram, reward, terminated, truncated, _ = env.step(rollout.actions[step, column])
            assert rollout.rewards[step, column] == reward
            episode_return += float(reward)
            assert not terminated
            cut = policy.values(features(ram[None], previous[None]))[0] if truncated else 0.0
            assert rollout.bootstraps[step, column] == cut
            if truncated:
                ended = next(e for e in episodes if (e.step, e.environment) == (step, column))
                assert (ended.episode_return, ended.length) == (episode_return, 25)
                ends += 1
                ram, previous, episode_return = env.reset()[0], None, 0.0
        assert (rollout.values[:, column] == policy.values_batched(shown)).all()
        before = ram if previous is None else previous
        assert rollout.last_values[column] == policy.values(features(ram[None], before[None]))[0]
        assert rollout.last_starts[column] == (previous is None)
        assert ends == 3
        env.close()


def test_logit_noise_lasts_for_a_rollout_and_counts_in_log_probabilities() -> None:
    settings = RolloutSettings(short_episodes(), small(n_envs=8), seed=2)
    weights = some_weights(settings.approach, 6)
    with WorkerPool(settings, 2) as pool:
        before = pool.snapshot()
        plain = kept(a_rollout(pool, weights))
        pool.restore(before)
        noisy = kept(a_rollout(pool, weights | {LOGIT_NOISE: np.array(1e6, np.float32)}))
        plain_again = kept(a_rollout(pool, weights))
        pool.restore(before)
        assert same(noisy, a_rollout(pool, weights | {LOGIT_NOISE: np.array(1e6, np.float32)}))
    assert (noisy.actions == noisy.actions[0]).all() and len(set(noisy.actions[0].tolist())) > 1
    assert (noisy.log_probs > -1e-6).all()
    for rollout in (plain, plain_again):
        assert min(len(set(column.tolist())) for column in rollout.actions.T) >= 4
        assert rollout.log_probs.max() < -0.5


def test_life_loss_is_recorded_at_its_step() -> None:
    game = resolve("ALE/Breakout-v5")
    settings = RolloutSettings(game, small(n_envs=2, n_steps=400), seed=1)
    arrays = {name: np.zeros(shape, kind) for name, (shape, kind) in settings.layout().items()}
    episodes = RolloutPlayer(settings, range(2), arrays).play(
        some_weights(settings.approach, 4), Statistics.empty(), lambda: None
    )
    rollout = Rollout(**arrays, episodes=tuple(episodes))
    starts, last_starts = rollout.life_starts()
    for column in range(2):
        env = make_env(game)
        reset_seed, _ = np.random.SeedSequence(1, spawn_key=(0, column)).generate_state(2)
        lives = env.reset(seed=int(reset_seed))[1]["lives"]
        for step in range(400):
            before = lives
            _, _, terminated, truncated, info = env.step(rollout.actions[step, column])
            lives = info["lives"]
            assert rollout.life_losses[step, column] == (lives < before)
            later = last_starts[column] if step == 399 else starts[step + 1, column]
            assert later == (lives < before or terminated)
            if terminated or truncated:
                lives = env.reset()[1]["lives"]
        env.close()
    assert rollout.life_losses.sum() > len(episodes) > 0, "more lives were lost than episodes ended"


def test_workers_exception_is_raised_in_the_parent() -> None:
    settings = RolloutSettings(resolve("ALE/Pong-v5"), small(), seed=0)
    with (
        WorkerPool(settings, 2) as pool,
        pytest.raises(WorkerError, match=r"worker [01] failed: ValueError: weights do not"),
    ):
        a_rollout(pool, {})


def test_killed_worker_is_noticed_within_seconds() -> None:
    settings = RolloutSettings(resolve("ALE/Pong-v5"), small(n_steps=20_000), seed=0)
    with WorkerPool(settings, 2) as pool:
        pool.start_rollout(some_weights(settings.approach, 6), Statistics.empty())
        victim, began = pool.pids[1], time.monotonic()
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(WorkerError, match=rf"worker 1 \(process {victim}\) ended by signal 9"):
            pool.finish_rollout()
        assert time.monotonic() - began < 10
        pids = pool.pids
    assert_gone(pids)


def test_hanging_worker_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RolloutSettings(resolve("ALE/Pong-v5"), small(n_steps=20_000), seed=0)
    with WorkerPool(settings, 1) as pool:
        monkeypatch.setattr(worker_pool, "HANG_SECONDS", 2)
        pool.start_rollout(some_weights(settings.approach, 6), Statistics.empty())
        os.kill(pool.pids[0], signal.SIGSTOP)
        with pytest.raises(WorkerError, match="worker 0 hangs"):
            pool.finish_rollout()


def test_hanging_worker_is_noticed_while_sending_more_than_a_pipe_buffers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = RolloutSettings(resolve("ALE/Pong-v5"), small(), seed=0)
    monkeypatch.setattr(worker_pool, "HANG_SECONDS", 2)
    with WorkerPool(settings, 2) as pool:
        weights = some_weights(settings.approach, 6)
        a_rollout(pool, weights)
        os.kill(pool.pids[1], signal.SIGSTOP)
        started = ThreadPoolExecutor(1).submit(
            pool.start_rollout, weights | {"more": np.zeros(10**6, np.float32)}, Statistics.empty()
        )
        with pytest.raises(WorkerError, match="worker 1 hangs: it receives nothing in 2 seconds"):
            started.result(timeout=20)


def test_worker_hanging_while_it_answers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The states of this many environments exceed a pipe's buffer."""
    settings = RolloutSettings(resolve("ALE/Pong-v5"), small(n_envs=24), seed=0)
    monkeypatch.setattr(worker_pool, "HANG_SECONDS", 2)
    with WorkerPool(settings, 1) as pool:

        def stopped(*args: Any, **kwargs: Any) -> list[Any]:
            if ready := connection.wait(*args, **kwargs):
                os.kill(pool.pids[0], signal.SIGSTOP)
                os.waitid(os.P_PID, pool.pids[0], os.WSTOPPED)
            return ready

        monkeypatch.setattr(worker_pool, "wait", stopped)
        seen = ThreadPoolExecutor(1).submit(pool.snapshot)
        with pytest.raises(WorkerError, match="worker 0 hangs: it sends nothing in 2 seconds"):
            seen.result(timeout=20)


def a_long_episode(pool: WorkerPool, steps: int) -> tuple[EnvironmentState, ...]:
    """Return the states of all environments after this many NOOP steps."""
    return tuple(replace(state, actions=(0,) * steps) for state in pool.snapshot())


def test_worker_replaying_long_episodes_is_not_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """With NOOP, Breakout never serves a ball; at 60 frames per step replaying such an episode takes seconds."""
    game = resolve("ALE/Breakout-v5").model_copy(update={"frame_skip": 60})
    with WorkerPool(RolloutSettings(game, small(n_envs=2), seed=0), 1) as pool:
        began = time.monotonic()
        pool.restore(a_long_episode(pool, 30))
        states = a_long_episode(pool, round(30 * 5 / (time.monotonic() - began)))
        monkeypatch.setattr(worker_pool, "HANG_SECONDS", 2)
        began = time.monotonic()
        pool.restore(states)
        assert time.monotonic() - began > 2
        assert pool.snapshot() == states


def test_worker_without_a_core_is_not_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs on its core leave a worker of the lowest priority next to nothing of it."""
    settings = RolloutSettings(resolve("ALE/Pong-v5"), small(n_steps=1000), seed=0)
    core = min(os.sched_getaffinity(0))
    burners: list[subprocess.Popen[bytes]] = []
    with WorkerPool(settings, 1) as pool:
        weights = some_weights(settings.approach, 6)
        a_rollout(pool, weights)
        os.sched_setaffinity(pool.pids[0], {core})
        os.sched_setscheduler(pool.pids[0], os.SCHED_IDLE, os.sched_param(0))
        monkeypatch.setattr(worker_pool, "HANG_SECONDS", 1)
        try:
            for _ in range(4):
                burners.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
                os.sched_setaffinity(burners[-1].pid, {core})
            pool.start_rollout(weights, Statistics.empty())
            finished = ThreadPoolExecutor(1).submit(pool.finish_rollout)
            with pytest.raises(TimeoutError):
                finished.result(timeout=4)
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
        assert finished.result(timeout=60)


def test_discarded_rollout_restores_the_environments() -> None:
    settings = RolloutSettings(resolve("ALE/Breakout-v5"), small(n_envs=2, n_steps=20_000), seed=0)
    with WorkerPool(settings, 2) as pool:
        states = a_long_episode(pool, 200)
        pool.restore(states)
        pool.start_rollout(some_weights(settings.approach, 4), Statistics.empty())
        assert pool.finish_rollout(lambda: True) is None
        pool.discard_rollout()
        assert pool.snapshot() == states


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_process_group_signals_end_no_starting_worker(what: signal.Signals) -> None:
    sent: set[int] = set()

    def send() -> None:
        while len(sent) < 2:
            for pid in {child.pid for child in mp.active_children()} - sent:
                os.kill(pid, what)
                sent.add(pid)
            time.sleep(0.001)

    mask, settings = signal.pthread_sigmask(signal.SIG_BLOCK, []), RolloutSettings(short_episodes(), small(), seed=0)
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(send)
        with WorkerPool(settings, 2) as pool:
            sending.result(timeout=10)
            assert sent == set(pool.pids)
            assert a_rollout(pool, some_weights(settings.approach, 6)).episodes
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask, "the parent's signal mask is restored"


def test_unknown_rom_is_reported_by_the_worker() -> None:
    game = resolve("ALE/Pong-v5").model_copy(update={"rom": "no_such_rom"})
    with pytest.raises(WorkerError, match="has no ROM 'no_such_rom'"):
        WorkerPool(RolloutSettings(game, small(), seed=0), 1)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_do_not_outlive_their_parent(how: signal.Signals, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import signal
        from tasks.arcade.settings.approaches import approach
        from tasks.arcade.emulator.environment_ids import resolve
        from tasks.arcade.policies.feature_statistics import Statistics
        from tasks.arcade.rollouts.on_policy import RolloutSettings
        from tasks.arcade.rollouts.worker_pool import WorkerPool

        if __name__ == "__main__":
            # A shell that starts something in the background has it ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            settings = approach("random").model_copy(update={"n_envs": 2})
            settings = settings.model_copy(
                update={"algorithm": settings.algorithm.model_copy(update={"n_steps": 200_000})}
            )
            with WorkerPool(RolloutSettings(resolve("ALE/Pong-v5"), settings, seed=0), 2) as pool:
                pool.start_rollout({}, Statistics.empty())
                print(*pool.pids, flush=True)
                pool.finish_rollout()
        """)
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(how)
        parent.wait(timeout=10)
    assert_gone(pids)


def assert_gone(pids: list[int] | tuple[int, ...]) -> None:
    wait_until(lambda: not any(alive(pid) for pid in pids))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "a worker is still there"
        time.sleep(0.05)
