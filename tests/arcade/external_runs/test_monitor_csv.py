"""A monitor.csv is read from every system, and in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from stable_baselines3.common.monitor import Monitor
from torch.utils.tensorboard import SummaryWriter

from tasks.arcade.emulator.environment_ids import resolve
from tasks.arcade.external_runs import ExternalRunError, read_external_log

DATA = Path(__file__).parents[2] / "data" / "imports"
PONG = resolve("PongNoFrameskip-v4")
LENGTHS = (3000, 3004, 3008, 3012, 3016, 3020)
WINDOWS = (DATA / "monitor-windows-blank-lines.csv").read_bytes()
UNIX = WINDOWS.replace(b"\r", b"")


def _with_blank_line(at: int) -> bytes:
    lines = UNIX.splitlines(keepends=True)
    return b"".join([*lines[:at], b"  \t\n\n", *lines[at:]])


@pytest.mark.parametrize(
    "content",
    [
        WINDOWS,
        UNIX,
        UNIX.replace(b"\n", b"\r\n"),
        UNIX.replace(b"\n", b"\r"),
        UNIX.rstrip(b"\n"),
        UNIX + b"\n",
        UNIX + b"\r\n \r\n",
        _with_blank_line(1),
        _with_blank_line(2),
        _with_blank_line(4),
        UNIX.replace(b"\n", b" \n").replace(b",", b", "),
        b"\xef\xbb\xbf" + UNIX,
        b"\xef\xbb\xbf" + WINDOWS,
        UNIX.decode().replace("\n", "\r\n").encode("utf-16"),
    ],
    ids=["rrn", "n", "rn", "r", "no-end", "blank-end", "blank-ends", "blank-1", "blank-2", "blank-4", "spaces", "bom",
         "bom-rrn", "utf-16"],
)  # fmt: skip
def test_line_endings_blank_lines_and_byte_order_marks_do_not_matter(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "monitor.csv").write_bytes(content)
    log = read_external_log(tmp_path, PONG)
    assert log.last_episodes is not None
    assert log.last_episodes.lengths == LENGTHS
    assert log.last_episodes.returns == (-21.0, -20.0, -19.0) * 2


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (lambda text: text[:-10], "line 8: 2 of 3 columns. The file may be truncated"),
        (lambda text: text.replace(b"-19.0,3008,30.0", b"-19.0,3008"), "line 5: 2 of 3 columns"),
        (lambda text: text.replace(b"-19.0,3008,30.0", b",,"), "line 5: not all values are numbers"),
        (lambda text: text.replace(b"-19.0,3008,30.0", b"-19"), "line 5: 1 of 3 columns"),
    ],
)
def test_a_row_that_is_cut_is_refused(cut: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    (tmp_path / "monitor.csv").write_bytes(cut(UNIX))
    with pytest.raises(ExternalRunError, match=message):
        read_external_log(tmp_path, PONG)


def test_the_rows_of_a_second_training_session_come_last() -> None:
    file = DATA / "monitor-two-sittings.csv"
    log = read_external_log(file, resolve("ALE/Pong-v5"))
    assert log.last_episodes is not None
    assert log.last_episodes.returns == (10.0,) * 100
    assert log.curves["rollout/ep_rew_mean"][-1][1] == 10
    assert [source.taken for source in log.sources] == ["all episodes of 2 training sessions"]


HEADER = '#{"t_start": %s, "env_id": "ALE/Pong-v5"}\nr,l,t\n'


def test_files_are_merged_by_session_and_time(tmp_path: Path) -> None:
    (tmp_path / "0.monitor.csv").write_text(HEADER % 1000.0 + "1,10,5\n3,10,50\n5,10,5\n")
    (tmp_path / "1.monitor.csv").write_text(HEADER % 1000.5 + "2,10,20\n6,10,10\n")
    log = read_external_log(tmp_path, resolve("ALE/Pong-v5"))
    assert log.last_episodes is not None
    # The second file has a row of the second session only because its clock falls, too.
    assert log.last_episodes.returns == (1, 2, 3, 5, 6)


def test_a_monitor_that_appends_is_read_in_its_order(tmp_path: Path) -> None:
    import ale_py
    import gymnasium

    gymnasium.register_envs(ale_py)
    for returns in (False, True):
        env = gymnasium.make("ALE/Breakout-v5", obs_type="ram", max_num_frames_per_episode=80)
        with_monitor = Monitor(env, str(tmp_path), override_existing=not returns)
        for episode in range(2 if returns else 3):
            with_monitor.reset(seed=episode)
            done = False
            while not done:
                *_, terminated, truncated, _ = with_monitor.step(0)
                done = terminated or truncated
        with_monitor.close()
    log = read_external_log(tmp_path, resolve("ALE/Breakout-v5"))
    assert log.last_episodes is not None
    assert len(log.last_episodes.returns) == 5
    assert log.sources[0].taken == "all episodes of 2 training sessions"


def _log(folder: Path, points: dict[int, float], suffix: str) -> None:
    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for step, value in points.items():
            writer.add_scalar("rollout/ep_rew_mean", value, step)


def test_event_files_are_ordered_by_steps_whatever_their_names(tmp_path: Path) -> None:
    _log(tmp_path, {10: 1.0, 20: 2.0, 30: 3.0, 40: 99.0}, ".first")
    _log(tmp_path, {30: 4.0, 35: 5.0}, ".resumed")
    (resumed,) = tmp_path.glob("*.resumed")
    # As if the clock had been set back in between.
    resumed.rename(tmp_path / "events.out.tfevents.1.host.1.0.resumed")
    log = read_external_log(tmp_path, resolve("ALE/Pong-v5"))
    assert log.curves["rollout/ep_rew_mean"] == ((10, 1.0), (20, 2.0), (30, 4.0), (35, 5.0))


def test_event_files_of_two_runs_are_refused(tmp_path: Path) -> None:
    _log(tmp_path, {10: 1.0, 20: 2.0}, ".one")
    _log(tmp_path, {10: 3.0, 20: 4.0}, ".other")
    with pytest.raises(ExternalRunError, match="contains several runs, which begin at the same step"):
        read_external_log(tmp_path, resolve("ALE/Pong-v5"))
