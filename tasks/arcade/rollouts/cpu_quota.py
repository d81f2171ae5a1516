"""CPU quota of the control group that a container, a systemd unit or a Kubernetes pod runs in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the CPU quota of this process, in cores; None if it has none.

    The smallest quota counts among its control group and the groups around it, of cgroup v1 and v2.

    Args:
        root: root of the file system.
    """
    return min((quota for folder in _groups(root) if (quota := _quota(folder))), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that may limit the CPU time, from the innermost outwards."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        # In a container, the path may be that on the host, of which only the group itself is mounted, as the root.
        group = PurePosixPath(path.lstrip("/"))
        yield from (mount / one for one in (group, *group.parents))


def _quota(group: Path) -> float | None:
    limit, _, period = _read(group / "cpu.max").partition(" ")
    if not limit:
        limit, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
    try:
        # "max" or -1 is no limit.
        return int(limit) / int(period) if int(limit) > 0 else None
    except ValueError:
        return None


def _read(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return ""
