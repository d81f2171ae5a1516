"""ramreel commands in processes of their own, with all their descendants, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 240
_MARKER_VARIABLE = "RAMREEL_TEST_FAMILY"
# If pytest itself runs in the background, its child processes ignore Ctrl-C.
_RAMREEL = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.__main__ import main
main()
"""


@dataclass
class Command:
    """A running command; a variable in the environment marks its descendants, including orphans."""

    arguments: list[str]
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str | Path] = (sys.executable, "-c", _RAMREEL)
    folder: Path = ROOT

    def __post_init__(self) -> None:
        self._marker = uuid4().hex
        # Files instead of pipes: an orphan would keep a pipe open and block its reader.
        self._out, self._err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*self.program, *self.arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "RAMREEL_HOME": str(self.home),
                **self.environment,
                _MARKER_VARIABLE: self._marker,
            },
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def family(self, command_line: str = "") -> list[int]:
        """Return the ids of its process and its descendants whose command line contains the given text."""
        marker, text = f"{_MARKER_VARIABLE}={self._marker}".encode(), command_line.replace(" ", "\0").encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if marker in (entry / "environ").read_bytes() and text in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return sorted(found)

    def children(self, command_line: str) -> list[int]:
        """Return the ids of its descendants whose command line contains the given text."""
        return [pid for pid in self.family(command_line) if pid != self.process.pid]

    @property
    def exited(self) -> bool:
        return self.process.poll() is not None

    def wait(self, seconds: float = TIMEOUT_SECONDS) -> tuple[int, str, str]:
        """Wait until it exits; return exit code, standard output and standard error."""
        code = self.process.wait(seconds)
        return code, *self.output()

    def output(self) -> tuple[str, str]:
        """Return standard output and standard error so far."""
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read())
        return texts[0], texts[1]

    def kill(self, group: bool = False) -> None:
        """Send SIGKILL to its process, or to its process group."""
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_SECONDS)

    def ctrl_c(self) -> None:
        """Send SIGINT to its process group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill all remaining processes."""
        for pid in self.family():
            kill(pid)
        self.process.wait(TIMEOUT_SECONDS)
        self._out.close()
        self._err.close()


@contextmanager
def started(arguments: list[str], home: Path, environment: Mapping[str, str] | None = None) -> Iterator[Command]:
    command = Command(arguments, home, environment or {})
    try:
        yield command
    finally:
        command.end()


def kill(pid: int) -> bool:
    """Send SIGKILL; return whether the process existed."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS, every: float = 0.05) -> bool:
    """Wait until a condition holds; return whether it does."""
    deadline = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < deadline:
        time.sleep(every)
    return holds


def error_lines(errors: str) -> list[str]:
    """Return the lines of standard error but what a command says before it imports libraries."""
    return [line for line in errors.splitlines() if not line.endswith("…")]
