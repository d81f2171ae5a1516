"""Steps and lengths of an imported run are steps of the agent, whatever its environment counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.external_runs import ExternalLog, ExternalRunError, read_external_log

DATA = Path(__file__).parents[2] / "data" / "imports"
PONG, PONG_FRAMES = resolve("PongDeterministic-v4"), resolve("PongNoFrameskip-v4")
INVADERS = resolve("SpaceInvadersDeterministic-v4")

ARGS = """!!python/object/apply:collections.OrderedDict
- - - algo
    - ppo
  - - env
    - {env_id}
  - - env_kwargs
    - null
  - - n_timesteps
    - -1
  - - seed
    - 7
"""
CONFIG = """!!python/object/apply:collections.OrderedDict
- - - env_wrapper
    - - {wrapper}
  - - frame_stack
    - 4
  - - n_envs
    - 2
  - - n_timesteps
    - {steps}
  - - normalize_kwargs
    - !!python/tuple
      - 1
  - - policy
    - CnnPolicy
"""
ATARI_WRAPPER = "stable_baselines3.common.atari_wrappers.AtariWrapper"


def monitors(folder: Path, env_id: str, lengths: list[int], n_files: int = 1, returns: float = 1.0) -> Path:
    """Write the monitors of parallel environments that played episodes of the same lengths."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n_files):
        rows = "".join(f"{returns},{length},{10.0 * (at + 1)}\n" for at, length in enumerate(lengths))
        header = json.dumps({"t_start": 1.7e9, "env_id": env_id})
        (folder / f"{number}.monitor.csv").write_text(f"#{header}\nr,l,t\n{rows}")
    return folder


def evaluations(folder: Path, steps: list[int], length: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(steps), 3)
    np.savez(
        folder / "evaluations.npz", timesteps=steps, results=np.ones(shape), ep_lengths=np.full(shape, length, np.int64)
    )
    return folder


def zoo_config(
    folder: Path, env_id: str = "PongNoFrameskip-v4", wrapper: str = ATARI_WRAPPER, steps: str = "10000.0"
) -> Path:
    """Write args.yml and config.yml where rl-baselines3-zoo keeps them."""
    inner = folder / env_id
    inner.mkdir(parents=True)
    (inner / "args.yml").write_text(ARGS.format(env_id=env_id))
    (inner / "config.yml").write_text(CONFIG.format(wrapper=wrapper, steps=steps))
    return folder


def mean_length(log: ExternalLog) -> float:
    return log.curves["rollout/ep_len_mean"][-1][1]


def test_a_wrapper_skips_four_frames_in_space_invaders_too() -> None:
    log = read_external_log(DATA / "monitor-spaceinvaders-skip4.csv", INVADERS)
    assert (log.steps, mean_length(log), log.frame_skip) == (8_000, 1_000, 4)
    assert log.run(INVADERS, "sb3", 0).game.frame_skip == 4
    (note,) = log.notes
    assert note == "the files are of frame skip 4, SpaceInvadersDeterministic-v4 has 3: 4 is assumed"


def test_the_user_says_what_the_wrapper_skipped() -> None:
    file = DATA / "monitor-spaceinvaders-skip4.csv"
    assert read_external_log(file, INVADERS, 3).steps == 8 * 1_334
    assert (read_external_log(file, INVADERS, 3).frame_skip, read_external_log(file, INVADERS, 3).notes) == (None, ())
    assert (read_external_log(file, INVADERS, 5).steps, read_external_log(file, INVADERS, 5).frame_skip) == (6_400, 5)


def test_a_frame_skip_that_the_environment_cannot_have_is_rejected(tmp_path: Path) -> None:
    monitors(tmp_path, "ALE/Pong-v5", [1000])
    with pytest.raises(ExternalRunError, match=r"^--frame-skip 6: a step of ALE/Pong-v5 is 4 frames; use a multiple$"):
        read_external_log(tmp_path, resolve("ALE/Pong-v5"), 6)
    monitors(tmp_path, "Pong-v4", [1000])
    with pytest.raises(ExternalRunError, match="Pong-v4 itself skips a random number of frames; leave it out"):
        read_external_log(tmp_path, resolve("Pong-v4"), 4)


def test_the_evaluations_tell_what_the_wrapper_skipped(tmp_path: Path) -> None:
    monitors(tmp_path, "PongNoFrameskip-v4", [4_000] * 10)
    log = read_external_log(evaluations(tmp_path, [5_000, 10_000], 3_600), PONG_FRAMES)
    assert (log.steps, mean_length(log), log.evaluations[-1].lengths) == (10_000, 1_000, (900, 900, 900))
    assert log.run(PONG_FRAMES, "sb3", 0).game.frame_skip == 4
    assert log.notes == ("the files are of frame skip 4, PongNoFrameskip-v4 has 1: 4 is assumed",)
    same = read_external_log(tmp_path, PONG)
    assert (same.steps, same.evaluations, same.notes) == (log.steps, log.evaluations, ())


def test_evaluations_that_contradict_the_steps_are_named(tmp_path: Path) -> None:
    monitors(tmp_path, "SpaceInvadersNoFrameskip-v4", [4_000] * 100)
    log = read_external_log(evaluations(tmp_path, list(range(5_000, 105_000, 5_000)), 4_000), INVADERS, 3)
    assert log.steps == 100 * 1_334
    assert log.notes == (
        "the lengths of all episodes add up to 3.81 times the steps of the run, which contradicts 3 steps of the "
        "environment per step of the agent: --frame-skip sets it",
    )


def test_missing_monitors_are_named_and_do_not_change_the_frame_skip(tmp_path: Path) -> None:
    monitors(tmp_path, "PongNoFrameskip-v4", [4_000] * 50)
    log = read_external_log(evaluations(tmp_path, list(range(5_000, 105_000, 5_000)), 4_000), PONG)
    assert (mean_length(log), log.frame_skip) == (1_000, None)
    (note,) = log.notes
    assert note.endswith(
        "4 steps of the environment per step of the agent: files of parallel environments may be missing"
    )


def test_the_zoos_config_tells_what_the_wrapper_skipped(tmp_path: Path) -> None:
    monitors(zoo_config(tmp_path), "PongNoFrameskip-v4", [4_000] * 5, n_files=2)
    log = read_external_log(tmp_path, PONG_FRAMES)
    assert (log.steps, mean_length(log), log.frame_skip) == (10_000, 1_000, 4)
    assert log.run(PONG_FRAMES, "sb3", 8).notes[-1] == "its training seed was 7, imported is seed 8"
    assert log.run(PONG_FRAMES, "sb3", 7).notes == log.notes
    wrapped = zoo_config(tmp_path / "three", wrapper=f"{ATARI_WRAPPER}:\n          frame_skip: 3", steps="13340.0")
    log = read_external_log(monitors(wrapped, "PongNoFrameskip-v4", [4_000] * 5, n_files=2), PONG)
    assert (log.steps, log.frame_skip) == (13_340, 3)
    assert log.notes == ("the files are of frame skip 3, PongDeterministic-v4 has 4: 3 is assumed",)
    contradicted = read_external_log(wrapped, PONG, 4)
    assert contradicted.notes[0] == "--frame-skip 4 contradicts config.yml, whose wrapper skips 3"


def test_the_zoos_config_names_game_and_steps(tmp_path: Path) -> None:
    monitors(zoo_config(tmp_path, steps="90000.0"), "None", [4_000] * 5, n_files=2)
    evaluations(tmp_path, [5_000, 10_000], 4_000)
    log = read_external_log(tmp_path, PONG)
    assert log.steps == 10_000
    assert log.notes == ("the sources differ in the steps of the run: the evaluations 10,000, config.yml 90,000",)
    with pytest.raises(ExternalRunError, match=r"^args.yml is of PongNoFrameskip-v4, not of ALE/Breakout-v5$"):
        read_external_log(tmp_path, resolve("ALE/Breakout-v5"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_the_zoos_config_is_read_from_windows(encoding: str, tmp_path: Path) -> None:
    monitors(zoo_config(tmp_path), "PongNoFrameskip-v4", [4_000] * 5, n_files=2)
    for file in (tmp_path / "PongNoFrameskip-v4").iterdir():
        file.write_text(file.read_text() + "\n   \n", encoding, newline="\r\n")
    assert read_external_log(tmp_path, PONG_FRAMES).frame_skip == 4


def test_the_zoos_config_constructs_no_objects(tmp_path: Path) -> None:
    monitors(zoo_config(tmp_path), "PongNoFrameskip-v4", [4_000] * 5)
    exploded = tmp_path / "exploded"
    file = tmp_path / "PongNoFrameskip-v4" / "args.yml"
    file.write_text(f"env: !!python/object/apply:os.system ['touch {exploded}']\n")
    read_external_log(tmp_path, PONG)
    assert not exploded.exists()
    for text in ("a: [", "!!python/object/apply:collections.OrderedDict\n- 3\n", "[" * 5000, "a: &a [*a, 'x\x00']"):
        file.write_text(text)
        with pytest.raises(ExternalRunError, match=r"^\S+args.yml is not valid YAML: [^\n]+$"):
            read_external_log(tmp_path, PONG)


def test_lengths_that_evaluations_count_in_steps_stay_steps(tmp_path: Path) -> None:
    monitors(tmp_path, "PongNoFrameskip-v4", [4_000] * 10)
    log = read_external_log(evaluations(tmp_path, [5_000, 10_000], 1_010), PONG)
    assert (mean_length(log), log.evaluations[-1].lengths) == (1_000, (1_010, 1_010, 1_010))
    (note,) = log.notes
    assert note.startswith("the evaluations' lengths are steps, while the training episodes' are 4 times as long")


def test_impossible_lengths_are_named(tmp_path: Path) -> None:
    log = read_external_log(evaluations(tmp_path, [5_000, 10_000], 108_000), PONG)
    (note,) = log.notes
    assert note.startswith("episodes of up to 108,000 steps are longer than the 27,000 steps of PongDeterministic-v4")
    assert read_external_log(tmp_path, PONG_FRAMES, 4).evaluations[-1].lengths == (27_000,) * 3


def test_sticky_actions_that_differ_are_named(tmp_path: Path) -> None:
    log = read_external_log(monitors(tmp_path, "PongNoFrameskip-v4", [4_000]), resolve("ALE/Pong-v5"))
    assert log.notes == ("the files are of PongNoFrameskip-v4, with sticky actions of 0; ALE/Pong-v5 has 0.25",)


def cleanrl(folder: Path, env_id: str = "PongNoFrameskip-v4", length: int = 4_000, episodes: int = 10) -> Path:
    """Write a log as CleanRL's ppo_atari.py does: lengths in frames, steps of the agent."""
    with SummaryWriter(str(folder)) as writer:
        arguments = {"env_id": env_id, "seed": 3, "total_timesteps": 10_000}
        rows = "\n".join(f"|{key}|{value}|" for key, value in arguments.items())
        writer.add_text("hyperparameters", f"|param|value|\n|-|-|\n{rows}")
        for number in range(episodes):
            writer.add_scalar("charts/episodic_return", 1.0, 1_000 * (number + 1))
            writer.add_scalar("charts/episodic_length", length, 1_000 * (number + 1))
    return folder


def test_cleanrls_lengths_become_steps(tmp_path: Path) -> None:
    log = read_external_log(cleanrl(tmp_path / "frames"), PONG)
    assert (log.steps, mean_length(log), log.notes) == (10_000, 1_000, ())
    assert log.last_episodes is not None
    assert log.last_episodes.lengths == (1_000,) * 10
    assert read_external_log(tmp_path / "frames", PONG_FRAMES).frame_skip == 4
    envpool = read_external_log(cleanrl(tmp_path / "envpool", "Pong-v5", 1_000), PONG)
    assert (mean_length(envpool), envpool.notes) == (1_000, ())
    with pytest.raises(ExternalRunError, match=r"is of PongNoFrameskip-v4, not of ALE/Breakout-v5"):
        read_external_log(tmp_path / "frames", resolve("ALE/Breakout-v5"))


def test_lengths_in_tensorboard_logs_become_steps(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("rollout/ep_rew_mean", 1.0, 10_000)
        writer.add_scalar("rollout/ep_len_mean", 4_000, 10_000)
    monitors(tmp_path, "PongNoFrameskip-v4", [4_000] * 10)
    (tmp_path / "0.monitor.csv").rename(tmp_path / "monitor.csv")
    assert mean_length(read_external_log(tmp_path, PONG)) == 1_000
    (tmp_path / "monitor.csv").unlink()
    assert mean_length(read_external_log(tmp_path, PONG_FRAMES, 4)) == 1_000


def test_a_monitor_of_another_run_is_named(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_scalar("rollout/ep_rew_mean", 21.0, 10_000)
    log = read_external_log(monitors(tmp_path, "PongNoFrameskip-v4", [4_000] * 10, returns=-21.0), PONG)
    (note,) = log.notes
    assert note.startswith("the last 10 training episodes have a mean return of -21, the TensorBoard log says 21")
