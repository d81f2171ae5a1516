"""Who trains a run: a lease with a beat, kept as a tag of the run, so that two processes never train it at once.

MLflow's status says RUNNING long after a process was killed; a beat that has stopped says that nobody is there.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from tasks.store.models import StoreError, one_line, told_in_one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "ramreel.lease"
BEAT_SECONDS = 10
STALE_SECONDS = 60
_SETTLE_SECONDS = 0.5
_WAIT_SECONDS = 2

_given_back: set[str] = set()
"""Tokens of this process's leases that are over, whether or not the store could be told."""


class LeaseError(StoreError):
    """Somebody else has the run; the message is one line."""


class Lease:
    """The right to train a run while the block lasts, or to do another thing with it that one at a time may do.

    Args:
        client: MLflow's.
        run_id: the run.
        tag: under which the run bears it.
        patient: wait on entering as long as somebody else has it.

    Raises:
        LeaseError: on entering, somebody else trains the run.
    """

    def __init__(self, client: MlflowClient, run_id: str, tag: str = TAG, *, patient: bool = False) -> None:
        self._client, self._run_id, self._tag, self._patient = client, run_id, tag, patient
        self._mine = {"token": uuid4().hex, "host": socket.gethostname(), "process": os.getpid()}
        self._mine["place"] = _place()
        self._over = threading.Event()
        self._taken_by: dict[str, Any] | None = None
        self._beating = threading.Thread(target=self._beat, name="ramreel-lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._take()
        except Exception:
            raise
        except BaseException:
            # A stop that comes before the block does not end it, and the tag may be written.
            self._give_back()
            raise
        self._beating.start()
        return self

    def _take(self) -> None:
        while (held := self._held()).get("token") != self._mine["token"]:
            if self._patient:
                self.wait_until_free()
            else:
                self.refuse_if_held()
            try:
                self._write()
            except StoreError:
                # MLflow lets one of two fail that write or delete a tag at once; if nobody else did, it is the store.
                if self._held() == held:
                    raise
            # Two that came at the same moment both wrote: the one that wrote last has it.
            time.sleep(_SETTLE_SECONDS)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._beating.join()
        self._give_back()

    def _give_back(self) -> None:
        try:
            if self._held().get("token") == self._mine["token"]:
                self._client.delete_tag(self._run_id, self._tag)
        except Exception as failure:
            # A lease that is left behind goes stale by itself; what ended the block is worth more.
            logging.getLogger("ramreel").warning("lease of run %s: %s", self._run_id, one_line(failure))
        finally:
            # Not before: who takes what seems free would write the tag while it is being deleted.
            _given_back.add(str(self._mine["token"]))

    @told_in_one_line
    def _held(self) -> dict[str, Any]:
        text = self._client.get_run(self._run_id).data.tags.get(self._tag, "{}")
        try:
            held = json.loads(text)
        except ValueError:
            return {}
        return held if isinstance(held, dict) else {}

    def wait_until_free(self) -> None:
        """Wait as long as somebody else holds it."""
        while True:
            try:
                return self.refuse_if_held()
            except LeaseError:
                time.sleep(_WAIT_SECONDS)

    def refuse_if_held(self) -> None:
        """Raise LeaseError if somebody else trains the run."""
        held = self._held()
        age = time.time() - float(held.get("beat", 0))
        if age > STALE_SECONDS or self._is_dead(held):
            return
        raise LeaseError(
            f"run {self._run_id} is being trained by {_name(held)} (seen {age:.0f} s ago): stop that first, or wait "
            "for its end"
        )

    def refuse_if_lost(self) -> None:
        """Raise LeaseError if somebody else has taken the run over, because no beat of ours arrived for too long."""
        if self._taken_by is not None:
            raise LeaseError(
                f"run {self._run_id} was taken over by {_name(self._taken_by)} while its store could not be reached "
                f"from here for more than {STALE_SECONDS} s: that one goes on with it"
            )

    def _is_dead(self, held: dict[str, Any]) -> bool:
        """Whether the holder was a process of this machine that is there no more, or is one that has given it back."""
        if held.get("token") in _given_back:
            return True
        if (held.get("host"), held.get("place")) != (self._mine["host"], self._mine["place"]):
            return False
        try:
            os.kill(int(held.get("process", 0)), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    @told_in_one_line
    def _write(self) -> None:
        self._client.set_tag(self._run_id, self._tag, json.dumps(self._mine | {"beat": round(time.time(), 1)}))

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            try:
                held = self._held()
                if held.get("token", self._mine["token"]) != self._mine["token"]:
                    self._taken_by = held
                    return
                self._write()
            except Exception as error:
                # A store that is away for a while must not end a training; its next beat tries again.
                logging.getLogger("ramreel").warning("lease of run %s: %s", self._run_id, one_line(error))


def _place() -> str:
    """Where a process's number means a process: machines may have one name, and a container that of its machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder.get('process')} on {holder.get('host')}"
