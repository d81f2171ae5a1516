"""Artifacts as files that can be served in ranges: those of the disk in place, others downloaded and kept a while."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from pathlib import Path

from tasks.store import Store

MAX_BYTES = 2 * 1024**3
"""Downloaded artifacts that are kept; those requested least recently are deleted."""
_MAX_AGE_SECONDS = 300
"""After this an artifact is downloaded again: a video may have been recorded again."""
_IN_USE_SECONDS = 60


class ArtifactFiles:
    """Files of artifacts of one store.

    Downloads are in a temporary folder of this process, and are deleted with it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = tempfile.TemporaryDirectory(prefix="ramreel-web-")
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._downloaded: OrderedDict[str, tuple[Path, float, float]] = OrderedDict()

    def close(self) -> None:
        """Delete what was downloaded."""
        self._folder.cleanup()

    def file(self, run_id: str, artifact_path: str) -> Path:
        """Return a file with the content of an artifact.

        Raises:
            StoreError: the path leads out of the run, or there is no such artifact.
        """
        key = hashlib.sha256(f"{run_id}/{artifact_path}".encode()).hexdigest()
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        # One download for all who ask for it at the same time.
        with lock:
            now = time.monotonic()
            path, at, _ = self._downloaded.get(key, (None, 0.0, 0.0))
            if path is None or now - at > _MAX_AGE_SECONDS or not path.exists():
                into = Path(self._folder.name) / f"{key}-{time.monotonic_ns()}"
                path, at = self._store.artifact_file(run_id, artifact_path, into), now
                if not path.is_relative_to(self._folder.name):
                    return path
            with self._lock:
                self._downloaded[key] = (path, at, now)
                self._downloaded.move_to_end(key)
                self._delete_unused(now)
            return path

    def _delete_unused(self, now: float) -> None:
        sizes = {key: path.stat().st_size for key, (path, _, _) in self._downloaded.items() if path.is_file()}
        for key in [*self._downloaded]:
            if sum(sizes.values()) <= MAX_BYTES or now - self._downloaded[key][2] < _IN_USE_SECONDS:
                return
            path, *_ = self._downloaded.pop(key)
            sizes.pop(key, None)
            self._locks.pop(key, None)
            top = Path(self._folder.name) / path.relative_to(self._folder.name).parts[0]
            shutil.rmtree(top, ignore_errors=True)
