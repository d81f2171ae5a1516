"""Memory that is available to this process, in a container, a systemd unit or a Kubernetes pod too."""

from __future__ import annotations

from pathlib import Path

from tasks.arcade.rollouts.control_groups import control_groups, read_text


def available_memory(root: Path = Path("/")) -> int:
    """Return the memory in bytes that processes can allocate without swapping.

    The smallest number counts among the machine's and those of the control group and the groups around it, of cgroup
    v1 and v2.

    Args:
        root: root of the file system.
    """
    groups = control_groups("memory", root)
    return min([_of_machine(root), *(free for folder in groups if (free := _of_group(folder)) is not None)])


def _of_machine(root: Path) -> int:
    fields = dict(line.split(":", 1) for line in read_text(root / "proc/meminfo").splitlines() if ":" in line)
    try:
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (KeyError, ValueError):
        # Not Linux: nothing is known.
        return 2**63


def _of_group(group: Path) -> int | None:
    """Return limit minus usage; cached files do not count, as the kernel drops them first."""
    limit = read_text(group / "memory.max") or read_text(group / "memory.limit_in_bytes")
    used = read_text(group / "memory.current") or read_text(group / "memory.usage_in_bytes")
    statistics = dict(line.split() for line in read_text(group / "memory.stat").splitlines())
    cached = statistics.get("total_inactive_file", statistics.get("inactive_file", "0"))
    try:
        return max(0, int(limit) - max(0, int(used) - int(cached)))
    except ValueError:
        # "max" is no limit.
        return None
