"""Output on a real pseudo-terminal and in a pipe."""

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SHOW = """
from flows.cli.terminal import Terminal
from tasks.arcade.progress import Progress
with Terminal(as_json=False, quiet=False) as terminal:
    for step in (1000, 2500, 5000):
        terminal.update("pong", Progress(step, 5000, 1234.0, None if step == 1000 else -20.5))
    terminal.log("recorded step 5,000")
    terminal.results(["all is done"], {"steps": 5000})
"""


def on_a_terminal(program: str, columns: int = 140) -> str:
    main, side = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": str(columns)}
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, stdin=side, stdout=side, stderr=side, check=True
    )
    os.close(side)
    shown = b""
    while chunk := _read(main):
        shown += chunk
    os.close(main)
    return shown.decode()


def test_control_sequences_and_markup_are_escaped() -> None:
    escapes = SHOW.replace('"pong"', r'"[/] \x1b]0;hello\x07 \udcff"').replace("all is done", r"\x1b[2Jdone [red]")
    text = on_a_terminal(escapes)
    assert r"[/] \x1b]0;hello\x07 \udcff" in text
    assert r"\x1b[2Jdone [red]" in text
    assert "\x1b]0;" not in text
    assert "\x1b[2J" not in text


def test_progress_bar_ends_before_the_results() -> None:
    text = on_a_terminal(SHOW)
    assert "5000/5000" in text
    assert "1,234 steps/s" in text
    assert "return -20.5" in text
    assert text.index("recorded step 5,000") < text.rindex("5000/5000") < text.index("all is done")
    assert text.rstrip().endswith("all is done")


def test_progress_bar_fits_80_columns() -> None:
    wide = SHOW.replace('"pong"', '"ppo-tuned seed 1"').replace("5000, 1234.0", "1_000_000, 1234.0")
    text = on_a_terminal(wide, columns=80)
    assert "5000/1000000" in text
    assert "…" not in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux raises it once the other side is closed
        return b""


def test_pipe_gets_plain_lines() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "all is done\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "pong: 1,000 of 5,000 steps, 1,234 steps/s, no episode finished yet, 3 s left"
    assert lines[-2] == "pong: 5,000 of 5,000 steps, 1,234 steps/s, mean return -20.5"
    assert lines[-1] == "recorded step 5,000"
    assert "\x1b" not in done.stderr


def test_pipe_gets_lines_of_every_run() -> None:
    program = """
from flows.cli.terminal import Terminal
from tasks.arcade.progress import Progress
terminal = Terminal(as_json=False, quiet=False)
for step in (1000, 2000):
    for name in ("ppo seed 1", "ppo seed 2"):
        terminal.update(name, Progress(step, 5000, 1000.0, None))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == ["ppo seed 1", "ppo seed 2"]


def test_table_in_a_pipe_is_not_truncated_and_its_cells_are_not_markup() -> None:
    row = [f"[red]{'long' * 10} {number}" for number in range(8)]
    program = f"""
from flows.cli.terminal import Terminal
Terminal(as_json=False, quiet=False).table(["a", *"bcdefgh"], [{row!r}], ["and so on"], {{}})
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split("  ") for line in done.stdout.splitlines()[1:]] == [row, ["and so on"]]


RECORD = """
from flows.cli.terminal import Terminal
from tasks.arcade.progress import CheckpointProgress, RecordingProgress
with Terminal(as_json=False, quiet=False) as terminal:
    for number in (1, 2):
        for progress in (RecordingProgress(3, 10), RecordingProgress(10, 10, 500, 2000, 1234.0), None):
            terminal.update_recording("pong", CheckpointProgress(number, 2, progress))
    terminal.results(["all is done"], {})
"""


def test_recording_shows_checkpoints_episodes_frames_and_the_time_left() -> None:
    done = subprocess.run([sys.executable, "-c", RECORD], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "record pong: checkpoint 1 of 2, episode 4 of 10, 0 s left\n", "one line in 10 seconds"
    text = on_a_terminal(RECORD)
    assert "2/2" in text
    assert text.rstrip().endswith("all is done")


def test_pipe_without_news_says_that_the_command_is_running() -> None:
    program = """
import time
from flows.cli import terminal
terminal._SILENT_SECONDS = 0.2
with terminal.Terminal(as_json=False, quiet=False) as shown:
    time.sleep(1)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("still running after 0 s\n")
