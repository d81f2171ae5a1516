"""CPU quota of the control group that a container, a systemd unit or a Kubernetes pod runs in."""

from __future__ import annotations

from pathlib import Path

from tasks.arcade.rollouts.control_groups import control_groups, read_text


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPU quota of this process, in cores; None if it has none.

    The smallest quota counts among its control group and the groups around it, of cgroup v1 and v2.

    Args:
        root: root of the file system.
    """
    return min((quota for folder in control_groups("cpu", root) if (quota := _quota(folder))), default=None)


def _quota(group: Path) -> float | None:
    limit, _, period = read_text(group / "cpu.max").partition(" ")
    if not limit:
        limit, period = read_text(group / "cpu.cfs_quota_us"), read_text(group / "cpu.cfs_period_us")
    try:
        # "max" or -1 is no limit.
        return int(limit) / int(period) if int(limit) > 0 else None
    except ValueError:
        return None
