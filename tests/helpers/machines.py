"""Machines as Linux namespaces: network, processes, mounts, host name and user of their own, on one bridge.

Nothing is shared but the code: each has an empty file system in memory for its home and its temporary files, which is
lost with it. The test process is on the bridge too, as a laptop would be; `tests/cluster/run.py` puts it there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from helpers.processes import ROOT, wait_until

INSIDE = "RAMREEL_TEST_BRIDGE"
"""Environment variable that is set within the namespaces of the bridge."""
_OWN_PROCESSES = ("--pid", "--mount-proc", "--fork")
NAMESPACES = ("unshare", "--user", "--map-root-user", "--net", "--mount", *_OWN_PROCESSES, "--kill-child")
_BRIDGE, _PREFIX = "machines", "10.77.0"
LAPTOP = f"{_PREFIX}.254"
_MACHINE = ("unshare", "--net", "--mount", "--uts", "--ipc", *_OWN_PROCESSES)
# A shell as the first process reaps orphans. A user of its own, who is not root: PostgreSQL insists.
_BOOT = """\
set -e
mount -t tmpfs tmpfs "$1"
mount -t tmpfs tmpfs /dev/shm
mkdir -p "$1/tmp"
hostname "$2"
ip link set lo up
read -r _
ip address add "$3/24" dev eth0
ip link set eth0 up
cd "$1"
shift 3
unshare --user --map-user=1000 --map-group=1000 -- "$@"
"""


@dataclass
class Machine:
    """A running machine.

    Attributes:
        name: its host name.
        address: its IP address.
        log: file with the output of its command.
    """

    name: str
    address: str
    log: Path
    _process: subprocess.Popen[bytes]

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def exited(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill all its processes at once, as a power failure does."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with suppress(OSError):
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        self._process.kill()
        self._process.wait()

    def processes(self, command_line: str) -> list[int]:
        """Return the ids of its processes whose command line contains a text."""
        namespace = _network(self._process.pid)
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                if command_line.encode() in words and _network(entry.name) == namespace:
                    found.append(int(entry.name))
        return sorted(found)

    def largest_process(self) -> int:
        """Return the memory of its largest process, in bytes."""
        return max(_resident(process) for process in self.processes(""))

    def unplug(self) -> None:
        """Take its network away."""
        _ip("link", "set", self.name, "down")

    def plug(self) -> None:
        """Give its network back."""
        _ip("link", "set", self.name, "up")

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        self.unplug()
        try:
            yield
        finally:
            self.plug()


def start_machine(
    folder: Path, name: str, number: int, command: Sequence[str], environment: Mapping[str, str]
) -> Machine:
    """Start a machine whose first process runs a command.

    Args:
        folder: folder of all machines; each sees an empty one of its own in its place.
        name: its host name.
        number: last part of its IP address.
        command: command line.
        environment: variables of the servers that it uses; it has none of this process's.
    """
    log = folder.with_name(f"{folder.name}-{name}.log")
    address = f"{_PREFIX}.{number}"
    paths = {
        "HOME": str(folder),
        "RAMREEL_HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_MACHINE, "sh", "-c", _BOOT, "sh", str(folder), name, address, *command],
            env={**_inherited(), **paths, **environment}, stdin=subprocess.PIPE, stdout=output, stderr=output,
        )  # fmt: skip
    assert wait_until(lambda: _network(process.pid) != _network("self"))
    _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
    _ip("link", "set", name, "master", _BRIDGE, "up")
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    return Machine(name, address, log, process)


def _inherited() -> dict[str, str]:
    """Return this process's environment without servers: some variables decide how floating-point results round."""
    servers = ("AWS_", "MLFLOW_", "PREFECT_", "RAMREEL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(servers)}


def build_bridge() -> None:
    """Create the bridge in this process's network namespace."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("address", "add", f"{LAPTOP}/24", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")


def missing() -> str | None:
    """Return why machines cannot be made here; None if they can."""
    if absent := [program for program in ("unshare", "ip", "mount", "hostname") if shutil.which(program) is None]:
        return f"not installed: {', '.join(absent)}"
    own = "unshare --net --pid --mount-proc --fork unshare --user --map-user=1000 true"
    trial = f"ip link add trial type bridge && {own}"
    tried = subprocess.run([*NAMESPACES, "sh", "-c", trial], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no namespaces: {tried.stderr.strip()}"


def _resident(process: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _network(process: int | str) -> str:
    """Return the network namespace of a process."""
    return str(Path(f"/proc/{process}/ns/net").readlink())


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
