"""File systems on which SQLite's write-ahead log does not work: several machines do not share its memory."""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
NETWORK_TYPES = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "nfs"}
    | {"nfs4", "smb2", "smb3", "smbfs", "virtiofs"}
)
"""File systems of other machines, by the kernel's names."""


def is_on_network(folder: Path) -> bool:
    """Return whether a folder is on a file system of another machine; False where Linux does not tell."""
    return _type_of(folder.resolve()) in NETWORK_TYPES


def _type_of(folder: Path) -> str:
    """Return the type of the file system that is mounted closest to a folder; the last mount there hides the others."""
    found = {}
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        # "36 35 98:0 / /data rw,noatime master:1 - ext4 /dev/root rw": optional fields end with a hyphen.
        mount, _, file_system = line.partition(" - ")
        place = mount.split()[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        found[Path(place.encode("latin-1").decode("utf-8", "surrogateescape"))] = file_system.split()[0]
    return next((found[place] for place in (folder, *folder.parents) if place in found), "")
