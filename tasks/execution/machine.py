"""Description of the machine that a run is trained on: speed, and the last bits of results, depend on its processor."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

from tasks.arcade.plural_forms import pluralize
from tasks.arcade.rollouts.worker_pool import cores

MACHINE_TAG = "ramreel.machine"


def machine() -> str:
    """Return the processor and the number of CPU cores that this process may use."""
    return f"{_processor()}, {pluralize(cores(), 'core')}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
