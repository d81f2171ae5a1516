"""Identity of a process across machines, to find out whether the process that wrote it has ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def process_identity() -> dict[str, Any]:
    """Return host, process id and PID namespace of this process, as JSON values."""
    return {"host": socket.gethostname(), "process": os.getpid(), "place": _process_namespace()}


def has_ended(identity: Mapping[str, Any]) -> bool:
    """Return whether an identity is that of a process of this machine that has ended."""
    this = process_identity()
    if (identity.get("host"), identity.get("place")) != (this["host"], this["place"]):
        return False
    try:
        os.kill(int(identity.get("process", 0)), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _process_namespace() -> str:
    """Return an id of this boot and PID namespace: host names repeat, and a container may share its machine's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
