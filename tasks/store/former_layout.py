"""Artifact paths and tags as version 0.1 wrote them: read, never written.

Names of settings within files and parameters are in `tasks.arcade.settings.legacy`. Nothing is migrated: a run of
version 0.1 that is recorded again has videos in both folders, and the one under `videos/` is its video.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasks.store import artifact_paths

FOLDERS: Mapping[str, str] = {artifact_paths.VIDEOS: "films"}
"""Current artifact folder to its former name."""
LEASE_TAGS: Mapping[str, str] = {"ramreel.recording": "ramreel.filming"}
"""Current lease tag to its former name."""


def former_path(path: str) -> str:
    """Return the former path of an artifact path; the same path if its folder was not renamed."""
    folder, separator, rest = path.partition("/")
    return FOLDERS.get(folder, folder) + separator + rest
