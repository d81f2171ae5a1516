"""Child processes that end with this process, even if it is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from tasks.arcade.errors import RamreelError
from tasks.execution.endpoints import is_healthy

STOP_SECONDS = 10
_START_SECONDS = 120

# Blocks on a pipe whose other end only this process holds: it is closed even if this process is killed.
_WATCHER = """
read -r _
kill -s TERM -- "$1"
for _ in $(seq "$2"); do
    sleep 1
    kill -s 0 -- "$1" || exit
done
kill -s KILL -- "$1"
"""


class ServerError(RamreelError):
    """A server or a worker did not start, or exited."""


@dataclass
class ChildProcess:
    """A running child process with its standard error."""

    name: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    terminated: bool = False

    def terminate(self) -> None:
        """Send SIGTERM to its process group, once: a second one kills a worker of Prefect."""
        if not self.terminated:
            self.terminated = True
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to its process group, and wait for its end."""
        _kill(self.process)

    def raise_if_exited(self) -> None:
        """Raise `ServerError` with the last line of standard error if the process has exited."""
        if self.process.poll() is not None:
            raise ServerError(f"{self.name} ended with exit code {self.process.returncode}: {self.last_error()}")

    def last_error(self) -> str:
        """Return the last line of standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "no output")

    def wait_until_healthy(self, url: str) -> None:
        """Wait until a health check answers.

        Raises:
            ServerError: the process exited, or does not answer within two minutes.
        """
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            self.raise_if_exited()
            if is_healthy(url):
                return
            time.sleep(0.2)
        raise ServerError(f"{self.name} did not answer within {_START_SECONDS} seconds")


@contextmanager
def child_process(
    name: str, command: Sequence[str], environment: Mapping[str, str], stop_seconds: int = STOP_SECONDS
) -> Iterator[ChildProcess]:
    """Run a process with its descendants for the block.

    Args:
        name: its name in error messages.
        command: its command line.
        environment: variables to set in its environment.
        stop_seconds: time between SIGTERM and SIGKILL at the end.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            # A process group of its own: Ctrl-C does not reach it, and its descendants can be killed with it.
            start_new_session=True,
        )
        child = ChildProcess(name, process, errors)
        try:
            with ended_with_parent(-process.pid, stop_seconds):
                try:
                    yield child
                finally:
                    stop((child,), stop_seconds)
        finally:
            # A second Ctrl-C may have interrupted anything before.
            _kill(process)


@contextmanager
def ended_with_parent(target: int, stop_seconds: int) -> Iterator[None]:
    """End a process when this process ends, even if it is killed; a negative number is a process group."""
    watcher = subprocess.Popen(
        ["sh", "-c", _WATCHER, "sh", str(target), str(stop_seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        watcher.kill()
        watcher.communicate()


def free_port(host: str) -> int:
    """Return a port of an address of this machine that no server uses."""
    with socket.create_server((host, 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Handle SIGTERM within the block as Ctrl-C: systemd, Docker and Kubernetes stop a service by it.

    By default it would end this process immediately, and in a container with it everything that it has started.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def stop(children: Sequence[ChildProcess], stop_seconds: int) -> None:
    """Terminate child processes at the same time; kill those that run after `stop_seconds` or a second Ctrl-C."""
    deadline = time.monotonic() + stop_seconds
    try:
        for child in children:
            child.terminate()
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0, deadline - time.monotonic()))
    finally:
        for child in children:
            _kill(child.process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
