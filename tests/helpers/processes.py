"""ramreel's commands as processes of their own, with everything that descends from them, to be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).parents[2]
PATIENCE = 240
_MARK = "RAMREEL_TEST_FAMILY"
# Where pytest itself runs in the background, Ctrl-C is ignored by whatever it starts.
_RAMREEL = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.__main__ import main
main()
"""


@dataclass
class Command:
    """A command line of ramreel's under way; everything it starts bears its mark, orphans too."""

    arguments: list[str]
    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parsed_trace = uuid4().hex
        # Files, not pipes: an orphan would hold a pipe open, and whoever reads it would wait for the orphan.
        self._out, self._err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c", _RAMREEL, *self.arguments],
            cwd=ROOT,
            env={**os.environ, "RAMREEL_HOME": str(self.home), **self.settings, _MARK: self._parsed_trace},
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def family(self, what: str = "") -> list[int]:
        """Process ids of itself and of all that it started, those whose command line has these words in it."""
        mark, words, found = f"{_MARK}={self._parsed_trace}".encode(), what.replace(" ", "\0").encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if mark in (entry / "environ").read_bytes() and words in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (OSError, ValueError):
                continue
        return sorted(found)

    def children(self, what: str) -> list[int]:
        """Those of the family, the command itself left out."""
        return [pid for pid in self.family(what) if pid != self.process.pid]

    @property
    def over(self) -> bool:
        return self.process.poll() is not None

    def done(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, standard output, standard error."""
        code = self.process.wait(PATIENCE)
        return code, *self.said()

    def said(self) -> tuple[str, str]:
        """Standard output and standard error so far."""
        texts = []
        for file in (self._out, self._err):
            file.seek(0)
            texts.append(file.read())
        return texts[0], texts[1]

    def kill(self, group: bool = False) -> None:
        """Kill -9: the command's own process, or its whole process group."""
        (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def ctrl_c(self) -> None:
        """What a terminal sends: to the command and to all that it started, but for what has a session of its own."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Whatever is left of it ends."""
        for pid in self.family():
            kill(pid)
        self.process.wait(PATIENCE)
        self._out.close()
        self._err.close()


@contextmanager
def started(arguments: list[str], home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Command]:
    command = Command(arguments, home, settings or {})
    try:
        yield command
    finally:
        command.end()


def kill(pid: int) -> bool:
    """Kill -9; whether there was anything to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_until(true: Callable[[], object], seconds: float = PATIENCE, every: float = 0.05) -> bool:
    """Wait for something to become true; whether it did."""
    end = time.monotonic() + seconds
    while not (done := bool(true())) and time.monotonic() < end:
        time.sleep(every)
    return done
