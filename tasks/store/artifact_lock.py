"""The lock of an embedded store against the deletion of artifacts while they are backed up."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from filelock import FileLock

from tasks.store.address import Address


def artifacts_lock(address: Address) -> AbstractContextManager[object]:
    """Return the lock; a store that is not embedded has none."""
    return FileLock(address.database.with_name("artifacts.lock")) if address.database else nullcontext()
