"""External runs: log files written by Stable-Baselines3 and in CleanRL's format are read; invalid ones raise."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ale_py
import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch.utils.tensorboard import SummaryWriter

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.external_runs import (
    ExternalEvaluation,
    ExternalRun,
    ExternalRunError,
    Source,
    read_external_log,
)
from tasks.arcade.external_runs.runs import WINDOW
from tasks.arcade.learner import read_sb3_zip
from tasks.arcade.settings.algorithms import A2cSettings, PpoSettings
from tasks.arcade.settings.base import parse_json
from tasks.arcade.settings.networks import NetworkSettings

gymnasium.register_envs(ale_py)
BREAKOUT = resolve("ALE/Breakout-v5")
RAM = {"obs_type": "ram"}
SHORT = RAM | {"max_num_frames_per_episode": 400}
"""Limits episodes, as an untrained policy may never serve the ball."""
EPISODES = [(40, 1.0), (95, 0.0), (160, 5.0)]


@pytest.fixture(scope="module")
def sb3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of a short Stable-Baselines3 run: logs, TensorBoard event files, zip."""
    folder = tmp_path_factory.mktemp("sb3")
    env = make_vec_env("ALE/Breakout-v5", n_envs=2, seed=1, monitor_dir=str(folder / "logs"), env_kwargs=SHORT)
    callback = EvalCallback(
        make_vec_env("ALE/Breakout-v5", seed=9, env_kwargs=SHORT),
        n_eval_episodes=2,
        eval_freq=128,
        log_path=str(folder / "logs"),
        verbose=0,
    )
    model = PPO(
        *("MlpPolicy", env),
        n_steps=64,
        batch_size=32,
        n_epochs=1,
        learning_rate=lambda progress: 1e-3 * progress,
        tensorboard_log=str(folder / "tb"),
        seed=1,
        device="cpu",
    )
    # On shared cores one thread is faster than two.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model.learn(512, callback=callback)
    torch.set_num_threads(threads)
    model.save(folder / "ppo.zip")
    env.close()
    return folder


@pytest.fixture
def cleanrl(tmp_path: Path) -> Path:
    """A log as CleanRL's scripts write it: one point per episode, at its last step."""
    with SummaryWriter(str(tmp_path / "run")) as writer:
        writer.add_text("hyperparameters", "|param|value|")
        for step, episode_return in EPISODES:
            writer.add_scalar("charts/episodic_return", episode_return, step)
            writer.add_scalar("charts/episodic_length", 30, step)
    return tmp_path / "run"


def test_all_files_of_an_sb3_folder_are_read(sb3: Path) -> None:
    log = read_external_log(sb3 / "logs", BREAKOUT)
    with np.load(sb3 / "logs" / "evaluations.npz") as theirs:
        assert [one.step for one in log.evaluations] == theirs["timesteps"].tolist() == [256, 512]
        assert [list(one.returns) for one in log.evaluations] == theirs["results"].tolist()
        assert [list(one.lengths) for one in log.evaluations] == theirs["ep_lengths"].tolist()
    run = log.run(BREAKOUT, "sb3", 3)
    assert (run.seed, run.steps >= 256, run.returns_from, run.evaluations) == (3, True, "evaluation", log.evaluations)
    assert [source.file for source in run.sources] == [
        str(sb3 / "logs" / name) for name in ("evaluations.npz", "0.monitor.csv", "1.monitor.csv")
    ]
    assert "rl-baselines3-zoo evaluations" in run.origin


def test_tensorboard_curve_matches_the_episodes(sb3: Path) -> None:
    curve = dict(read_external_log(sb3 / "tb", BREAKOUT).curves["rollout/ep_rew_mean"])
    assert set(curve) <= set(range(0, 513, 128))
    rows = [
        line.split(",")
        for file in sorted((sb3 / "logs").glob("*.monitor.csv"))
        for line in file.read_text().splitlines()[2:]
    ]
    assert curve[512] == pytest.approx(np.mean([float(row[0]) for row in rows]), abs=1e-6)
    monitors = read_external_log(sb3 / "logs" / "0.monitor.csv", BREAKOUT)
    (last,) = monitors.run(BREAKOUT, "sb3", 0).evaluations
    assert monitors.run(BREAKOUT, "sb3", 0).returns_from == "training episodes"
    assert last.step == sum(last.lengths)
    assert monitors.curves["rollout/ep_rew_mean"][-1] == (last.step, pytest.approx(np.mean(last.returns)))


def test_cleanrl_episodes_are_read(cleanrl: Path) -> None:
    log = read_external_log(cleanrl, BREAKOUT)
    assert log.curves["rollout/ep_rew_mean"] == ((40, 1.0), (95, 0.5), (160, 2.0))
    (last,) = log.run(BREAKOUT, "cleanrl", 0).evaluations
    assert (last.step, last.returns, last.lengths) == (160, (1.0, 0.0, 5.0), (30, 30, 30))


def test_episodes_are_averaged_like_sb3(tmp_path: Path) -> None:
    returns = np.random.default_rng(0).normal(size=3000)
    rows = "".join(f"{value},10,{number}.5\n" for number, value in enumerate(returns))
    file = tmp_path / "monitor.csv"
    file.write_text(f'#{{"t_start": 1.0, "env_id": "None"}}\nr,l,t\n{rows}')
    curve = dict(read_external_log(file, BREAKOUT).curves["rollout/ep_rew_mean"])
    assert len(curve) <= 1000
    assert curve[30_000] == pytest.approx(returns[-WINDOW:].mean())
    assert curve[10] == pytest.approx(returns[0])


def test_monitor_frames_are_converted_to_steps(tmp_path: Path) -> None:
    (tmp_path / "monitor.csv").write_text(
        '#{"t_start": 1.0, "env_id": "BreakoutNoFrameskip-v4"}\nr,l,t\n2.0,400,1.0\n3.0,800,2.0\n'
    )
    log = read_external_log(tmp_path, resolve("BreakoutDeterministic-v4"))
    assert log.curves["rollout/ep_rew_mean"] == ((100, 2.0), (300, 2.5))
    assert read_external_log(tmp_path, resolve("BreakoutNoFrameskip-v4")).steps == 1200


def test_sb3_zip_becomes_an_equivalent_checkpoint(sb3: Path) -> None:
    found = read_sb3_zip(sb3 / "ppo.zip", BREAKOUT, "sb3", 1, trust=True)
    assert (found.reason, found.steps) == ("", 512)
    assert found.checkpoint is not None
    algorithm = found.checkpoint.settings.approach.algorithm
    assert isinstance(algorithm, PpoSettings)
    assert (algorithm.n_steps, algorithm.batch_size, algorithm.learning_rate) == (64, 32, "lin_0.001_0")
    agent, model = found.checkpoint.agent(), PPO.load(sb3 / "ppo.zip", device="cpu")
    env = gymnasium.make("ALE/Breakout-v5", **RAM)
    ram, _ = env.reset(seed=3)
    for number in range(200):
        with torch.no_grad():
            tensor, _ = model.policy.obs_to_tensor(ram)
            theirs = model.policy.get_distribution(tensor).distribution.logits[0].numpy()
            value = model.policy.predict_values(tensor)[0, 0].item()
        ours = agent.policy.logits(agent.features(ram[None], ram[None]))[0]
        assert np.abs((ours - ours.max()) - (theirs - theirs.max())).max() < 1e-4
        assert agent.policy.values(agent.features(ram[None], ram[None]))[0] == pytest.approx(value, abs=1e-4)
        ram, *_ = env.step(number % 4)


def test_unsupported_zip_gives_a_reason(tmp_path: Path) -> None:
    env = gymnasium.make("ALE/Breakout-v5", **RAM)
    DQN("MlpPolicy", env, buffer_size=10, device="cpu").save(tmp_path / "dqn.zip")
    A2C("MlpPolicy", env, policy_kwargs={"net_arch": {"pi": [16], "vf": []}}, device="cpu").save(tmp_path / "a2c.zip")
    A2C("MlpPolicy", gymnasium.make("CartPole-v1"), device="cpu").save(tmp_path / "cart.zip")
    refused = read_sb3_zip(tmp_path / "dqn.zip", BREAKOUT, "dqn", 0, trust=False)
    assert refused.checkpoint is None
    assert refused.reason == "its policy is a DQNPolicy: only MlpPolicy of PPO or A2C is supported"
    assert refused.parameters["gamma"] == "0.99"
    assert "not the 128 bytes of RAM" in read_sb3_zip(tmp_path / "cart.zip", BREAKOUT, "a2c", 0, trust=False).reason
    assert (
        "4 actions, ALE/Pong-v5 has 6"
        in read_sb3_zip(tmp_path / "a2c.zip", resolve("ALE/Pong-v5"), "a2c", 0, trust=False).reason
    )
    small = read_sb3_zip(tmp_path / "a2c.zip", BREAKOUT, "a2c", 0, trust=False).checkpoint
    assert small is not None
    algorithm = small.settings.approach.algorithm
    assert isinstance(algorithm, A2cSettings)
    assert algorithm.network == NetworkSettings(pi=(16,), vf=())
    (tmp_path / "torn.zip").write_bytes((tmp_path / "a2c.zip").read_bytes()[:5000])
    with pytest.raises(ExternalRunError, match=r"torn\.zip is not a Stable-Baselines3 zip: "):
        read_sb3_zip(tmp_path / "torn.zip", BREAKOUT, "a2c", 0, trust=False)


class Halved(BaseFeaturesExtractor):
    """Transforms RAM without weights of its own."""

    def __init__(self, seen: gymnasium.spaces.Box) -> None:
        super().__init__(seen, 128)

    def forward(self, rams: torch.Tensor) -> torch.Tensor:
        return rams / 2


def test_custom_features_extractor_is_not_supported(tmp_path: Path) -> None:
    env = gymnasium.make("ALE/Breakout-v5", **RAM)
    A2C("MlpPolicy", env, policy_kwargs={"features_extractor_class": Halved}, device="cpu").save(tmp_path / "a2c.zip")
    found = read_sb3_zip(tmp_path / "a2c.zip", BREAKOUT, "a2c", 0, trust=False)
    assert found.checkpoint is None
    assert found.reason == "its policy has the features extractor Halved: only MlpPolicy on plain RAM is supported"


def test_unsupported_settings_of_a_zip_are_reported_or_dropped(tmp_path: Path) -> None:
    env = gymnasium.make("ALE/Breakout-v5", **RAM)
    made = {"activation_fn": partial(torch.nn.LeakyReLU)}
    A2C("MlpPolicy", env, policy_kwargs=made, device="cpu").save(tmp_path / "made.zip")
    assert (
        "its settings are not supported: activation"
        in read_sb3_zip(tmp_path / "made.zip", BREAKOUT, "a2c", 0, trust=False).reason
    )
    A2C("MlpPolicy", env, learning_rate=lambda progress: 1e-3 / progress, device="cpu").save(tmp_path / "rate.zip")
    found = read_sb3_zip(tmp_path / "rate.zip", BREAKOUT, "a2c", 0, trust=False)
    assert found.checkpoint is not None
    assert "learning_rate" not in found.parameters


def test_metadata_with_former_field_names_is_read() -> None:
    last = ExternalEvaluation(step=160, returns=(1.0, 0.0))
    run = ExternalRun(
        game=BREAKOUT,
        approach="cleanrl",
        seed=0,
        steps=160,
        sources=(Source(file="run", kind="TensorBoard log", taken="charts/episodic_return"),),
        evaluations=(last,),
        returns_from="training episodes",
    )
    former = run.model_dump_json().replace('"returns_from"', '"judged_by"')
    assert '"judged_by"' in former
    assert parse_json(ExternalRun, former.encode()) == run


HEADER = '#{"t_start": 1.0, "env_id": "ALE/Breakout-v5"}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("r,l,t\n1.0,10,1.0\n", "is not a header"),
        ("#[]\nr,l,t\n", "is not a header"),
        (HEADER, "missing column r, l, t. The file has no columns"),
        (HEADER + "r,length,t\n1.0,10,1.0\n", "missing column l. Available: r, length, t"),
        (HEADER + "r,l,t\n", "it contains no finished episode"),
        (HEADER + "r,l,t\n1.0,10,1.0\nnan,10,2.0\n", "line 4: nan is not a finite number"),
        (HEADER + "r,l,t\n1.0,10,1.0\ninf,10,2.0\n", "line 4: inf is not a finite number"),
        (HEADER + "r,l,t\n1.0,10,1.0\n1.0,1", "line 4: 2 of 3 columns. The file may be truncated"),
        (HEADER + "r,l,t\n1.0,many,1.0\n", "not all values are numbers"),
        (HEADER + "r,l,t\n1.0,0,1.0\n", "invalid episode length 0"),
        (HEADER.replace("Breakout", "Pong") + "r,l,t\n1.0,9,1.0\n", "is of ALE/Pong-v5, not of ALE/Breakout-v5"),
        (HEADER + "r,l,t\n\udcff", "is not a monitor.csv"),
        ('#{"t_start": 1' + "0" * 400 + "}\nr,l,t\n1.0,9,1.0\n", "is not a header"),
    ],
)
def test_invalid_monitor_raises_a_one_line_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "monitor.csv").write_bytes(text.encode(errors="surrogateescape"))
    _assert_raises(tmp_path, message)


def _assert_raises(path: Path, message: str) -> None:
    with pytest.raises(ExternalRunError) as error:
        read_external_log(path, BREAKOUT)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def _evaluations(**changes: object) -> dict[str, object]:
    good = {"timesteps": [10, 20], "results": [[1.0, 2.0], [3.0, 4.0]], "ep_lengths": [[5, 6], [7, 8]]}
    return {name: np.array(value) for name, value in (good | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"results": np.array([[1.0, None], [{}, "x"]], object)}, "contains pickled objects, which can run code"),
        ({"results": [[1.0, np.nan], [3.0, 4.0]]}, "step 10: nan is not a finite number"),
        ({"results": [[1.0], [3.0]]}, "shapes of the arrays do not match"),
        ({"results": [["a", "b"], ["c", "d"]]}, "is not an evaluations.npz"),
        ({"timesteps": [20, 10]}, "timesteps must be increasing integers"),
        ({"timesteps": [10, np.nan]}, "step nan: timesteps must be increasing integers"),
        ({"timesteps": [10, np.inf]}, "step inf: timesteps must be increasing integers"),
        (
            {"timesteps": [], "results": np.zeros((0, 2)), "ep_lengths": np.zeros((0, 2))},
            "shapes of the arrays do not match",
        ),
        ({"ep_lengths": None}, "missing array ep_lengths. Available: timesteps, results"),
    ],
)
def test_invalid_evaluations_raise_a_one_line_error(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    np.savez(tmp_path / "evaluations.npz", **_evaluations(**changes))  # type: ignore[arg-type]
    _assert_raises(tmp_path / "evaluations.npz", message)


def test_truncated_npz_and_zip_bomb_raise(tmp_path: Path) -> None:
    file = tmp_path / "evaluations.npz"
    np.savez(file, **_evaluations())  # type: ignore[arg-type]
    assert read_external_log(file, BREAKOUT).steps == 20
    file.write_bytes(file.read_bytes()[:-100])
    _assert_raises(file, "is damaged or not an npz file")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("results.npy", "w") as part:
        for _ in range(210):
            part.write(bytes(1_000_000))
    _assert_raises(file, "is not an evaluations.npz: it unpacks to")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "truncated after"),
        (_flip, "is damaged or truncated after"),
        (lambda file: file.write_bytes(b"not an event file"), "truncated after 0 records, or not a TensorBoard log"),
        (lambda file: file.write_bytes(b""), "is empty"),
    ],
    ids=["cut", "flipped", "nonsense", "empty"],
)
def test_damaged_event_file_raises(cleanrl: Path, damage: Callable[[Path], object], message: str) -> None:
    (file,) = cleanrl.iterdir()
    damage(file)
    _assert_raises(cleanrl, message)


def test_event_file_without_finite_returns_raises(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path / "empty")) as writer:
        writer.add_scalar("losses/value", 1.0, 1)
    _assert_raises(tmp_path / "empty", "it contains neither rollout/ep_rew_mean nor charts/episodic_return")
    with SummaryWriter(str(tmp_path / "nan")) as writer:
        writer.add_scalar("charts/episodic_return", float("nan"), 7)
    _assert_raises(tmp_path / "nan", "charts/episodic_return at step 7: nan is not a finite number")
    _assert_raises(tmp_path, "contains several runs. Name one of them")


def test_links_pipes_and_other_files_raise(tmp_path: Path, cleanrl: Path) -> None:
    (file,) = cleanrl.iterdir()
    (tmp_path / "link").symlink_to(cleanrl)
    _assert_raises(tmp_path / "link", "is a symbolic link")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "monitor.csv").symlink_to(file)
    _assert_raises(tmp_path / "folder", "is a symbolic link")
    (tmp_path / "folder" / "monitor.csv").unlink()
    os.mkfifo(tmp_path / "folder" / "monitor.csv")
    _assert_raises(tmp_path / "folder", "is not a regular file")
    (tmp_path / "nothing").mkdir()
    _assert_raises(tmp_path / "nothing", "contains no TensorBoard log, monitor.csv or evaluations.npz")
    (tmp_path / "notes.txt").write_text("hello")
    _assert_raises(
        tmp_path / "notes.txt", "is not a TensorBoard log, monitor.csv or evaluations.npz, nor a folder of them"
    )
    _assert_raises(tmp_path / "nosuch", "cannot be read: No such file")
