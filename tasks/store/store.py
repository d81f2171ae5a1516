"""The store as one object: runs, checkpoints, videos and leases of one tracking URI."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.store.address import find_address
from tasks.store.checkpoints import CheckpointStore
from tasks.store.connection import check, server_version
from tasks.store.errors import StoreError, raises_store_error
from tasks.store.lease import RECORDING_TAG, Lease
from tasks.store.pixels_videos import PixelsVideoStore
from tasks.store.run_reader import RunReader
from tasks.store.run_writer import RunWriter
from tasks.store.server_command import server_command


@raises_store_error
def open_store(tracking_uri: str | None = None) -> Store:
    """Return the store at a tracking URI after checking that it can be used.

    Nothing is written: an embedded store that does not exist is created when the first run is started in it.

    Args:
        tracking_uri: MLflow tracking URI (default: `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the home).

    Raises:
        StoreError: the server does not respond, or the folder is not writable; raised within seconds.
    """
    address = find_address(tracking_uri)
    check(address)
    return Store(address)


def store_in_use() -> Store:
    """Return the store of the environment without checking it, for a process that has opened it before.

    If its server is unavailable, requests wait for it: MLflow's client retries for about four minutes.
    """
    return Store(find_address(None))


@dataclass(frozen=True)
class Store(RunReader, RunWriter, CheckpointStore, PixelsVideoStore):
    """All data of runs in MLflow. Cheap to create, copy and pickle: each method sends requests to MLflow.

    Every method raises `StoreError`, one line, if MLflow fails or is unavailable, or if a disk is full.
    """

    def lease(self, run_id: str) -> Lease:
        """Return the lease for training a run."""
        return Lease(self._client, run_id)

    def recording_lease(self, run_id: str) -> Lease:
        """Return the lease for recording a run's checkpoints; entering it waits until it is free."""
        return Lease(self._client, run_id, RECORDING_TAG, patient=True)

    @raises_store_error
    def server_version(self) -> str | None:
        """Return the version of the tracking server; None if the store is not one."""
        return server_version(self.address)

    @raises_store_error
    def server_command(self, host: str, port: int) -> list[str]:
        """Return the command line of an MLflow server, with its UI, on this store.

        Raises:
            StoreError: the store is a server already.
        """
        if self.address.database is None:
            raise StoreError(f"{self.address.redacted_uri} is a tracking server already: open it in the browser")
        # Connecting creates the database, which the server would migrate without a lock.
        _ = self._client
        return server_command(host, port, 1, self.address.uri, str(self.address.artifacts))
