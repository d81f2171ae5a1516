"""Leases with a heartbeat, kept as tags of runs, so that two processes never train or record one run concurrently.

MLflow's status stays RUNNING long after a process was killed; a heartbeat that stops shows that its process is dead.
Clocks of two machines differ, and a clock can be set: a heartbeat that seems old, or in the future, is observed before
a lease is taken from its holder.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from tasks.arcade.process_identity import has_ended, process_identity
from tasks.store.errors import StoreError, one_line, raises_store_error
from tasks.store.former_layout import LEASE_TAGS

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "ramreel.lease"
"""Tag of the lease for training a run."""
RECORDING_TAG = "ramreel.recording"
"""Tag of the lease for recording its checkpoints."""
BEAT_SECONDS = 10
STALE_SECONDS = 60
_OBSERVE_SECONDS = 2.5 * BEAT_SECONDS
_SETTLE_SECONDS = 0.5
_WAIT_SECONDS = 2

_released_tokens: set[str] = set()
"""Tokens of this process's released leases, whether or not their tags could be deleted."""
_stopped_heartbeats: set[tuple[object, object]] = set()
"""Token and time of heartbeats that this process observed to be the last ones."""


class LeaseError(StoreError):
    """Another process holds the lease; the message is one line."""


class Lease:
    """A context manager that holds an exclusive lease on a run.

    Args:
        client: MLflow's client.
        run_id: MLflow's run id.
        tag: tag of the run that holds the lease.
        patient: wait on entering until the lease is free, instead of raising.

    Raises:
        LeaseError: on entering, if another process holds the lease.
    """

    def __init__(self, client: MlflowClient, run_id: str, tag: str = TAG, *, patient: bool = False) -> None:
        self._client, self._run_id, self._tag, self._patient = client, run_id, tag, patient
        self._token = uuid4().hex
        self._owner = {"token": self._token, **process_identity()}
        self._released = threading.Event()
        self._taken_by: dict[str, Any] | None = None
        self._heartbeat = threading.Thread(target=self._send_heartbeats, name="ramreel-lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except Exception:
            raise
        except BaseException:
            # `__exit__` is not called for an interrupt before the block, and the tag may be written already.
            self._release()
            raise
        self._heartbeat.start()
        return self

    def _acquire(self) -> None:
        while (holder := self._holder()).get("token") != self._token:
            if self._patient:
                self.wait_until_free()
            else:
                self.raise_if_held()
            try:
                self._write()
            except StoreError:
                # MLflow fails one of two concurrent writes of a tag; if the holder is unchanged, the store failed.
                if self._holder() == holder:
                    raise
            # Of two processes that wrote concurrently, the last writer holds the lease.
            time.sleep(_SETTLE_SECONDS)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        self._heartbeat.join()
        self._release()

    def _release(self) -> None:
        try:
            if self._holder().get("token") == self._token:
                self._client.delete_tag(self._run_id, self._tag)
        except Exception as failure:
            # A lease that is not deleted goes stale; the error that ended the block must not be replaced.
            logging.getLogger("ramreel").warning("lease of run %s: %s", self._run_id, one_line(failure))
        finally:
            # Only now: another thread would write the tag while it is being deleted.
            _released_tokens.add(self._token)

    @raises_store_error
    def _holder(self) -> dict[str, Any]:
        return _parsed_holder(self._client.get_run(self._run_id).data.tags, self._tag)

    def wait_until_free(self) -> None:
        """Block while another process holds the lease."""
        while True:
            try:
                return self.raise_if_held()
            except LeaseError:
                time.sleep(_WAIT_SECONDS)

    def raise_if_held(self) -> None:
        """Raise LeaseError if another process holds the lease."""
        holder = self._holder()
        if not holder or self._is_dead(holder):
            return
        age = time.time() - float(holder.get("beat", 0))
        seen = f"last heartbeat {max(age, 0):.0f} s ago"
        if abs(age) > STALE_SECONDS:
            if (living := self._observe(holder)) is None:
                return
            holder, seen = living, f"its heartbeats arrive; its clock differs by {abs(age):,.0f} s"
        verb = "recorded" if self._tag == RECORDING_TAG else "trained"
        raise LeaseError(
            f"run {self._run_id} is being {verb} by {_describe(holder)} ({seen}): stop that process, or wait until it "
            "ends"
        )

    def _observe(self, holder: dict[str, Any]) -> dict[str, Any] | None:
        """Return the holder of the lease after its next heartbeat; None if none arrives."""
        last = holder.get("token"), holder.get("beat")
        end = time.monotonic() + _OBSERVE_SECONDS
        while last not in _stopped_heartbeats and time.monotonic() < end:
            time.sleep(_WAIT_SECONDS)
            now = self._holder()
            if (now.get("token"), now.get("beat")) != last:
                return now if now and not self._is_dead(now) else None
        _stopped_heartbeats.add(last)
        return None

    def raise_if_lost(self) -> None:
        """Raise LeaseError if another process took the lease because no heartbeat of this one arrived for too long."""
        if self._taken_by is not None:
            raise LeaseError(
                f"run {self._run_id} was taken over by {_describe(self._taken_by)}: this process could not reach the "
                f"store for more than {STALE_SECONDS} s; the other one continues the run"
            )

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        """Whether the holder is a process of this machine that has ended, or a lease that this process released."""
        return holder.get("token") in _released_tokens or has_ended(holder)

    @raises_store_error
    def _write(self) -> None:
        self._client.set_tag(self._run_id, self._tag, json.dumps(self._owner | {"beat": round(time.time(), 1)}))

    def _send_heartbeats(self) -> None:
        while not self._released.wait(BEAT_SECONDS):
            try:
                holder = self._holder()
                if holder.get("token", self._token) != self._token:
                    self._taken_by = holder
                    return
                self._write()
            except Exception as error:
                # A store that is unavailable for a while must not end a training run; the next heartbeat retries.
                logging.getLogger("ramreel").warning("lease of run %s: %s", self._run_id, one_line(error))


def lease_host(tags: Mapping[str, str]) -> str | None:
    """Return the name of the machine that trains a run with these tags; None if no process holds its lease."""
    holder = _parsed_holder(tags, TAG)
    if time.time() - float(holder.get("beat", 0)) > STALE_SECONDS or has_ended(holder):
        return None
    return str(holder["host"])


def _parsed_holder(tags: Mapping[str, str], tag: str) -> dict[str, Any]:
    text = tags.get(tag) or tags.get(LEASE_TAGS.get(tag, "")) or "{}"
    try:
        holder = json.loads(text)
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _describe(holder: dict[str, Any]) -> str:
    return f"process {holder.get('process')} on {holder.get('host')}"
