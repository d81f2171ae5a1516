"""Control groups (cgroups) that a container, a systemd unit or a Kubernetes pod runs in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that may limit a resource, from the innermost outwards.

    Args:
        controller: name of its controller in cgroup v1.
        root: root of the file system.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        # In a container, the path may be that on the host, of which only the group itself is mounted, as the root.
        group = PurePosixPath(path.lstrip("/"))
        yield from (mount / one for one in (group, *group.parents))


def read_text(file: Path) -> str:
    """Return the text of a file without surrounding white space; an empty text if it cannot be read."""
    try:
        return file.read_text("ascii").strip()
    except OSError:
        return ""
