"""Child flow runs of deployments, executed by the workers of a Prefect server, on any machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkQueueStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment, flow_run
from prefect.states import AwaitingRetry, Cancelled, Cancelling

from flows.runtime.child_run import ChildRun, FailedChild
from tasks.execution.crash_loop import MAX_STARTS
from tasks.execution.progress_sink import log_message
from tasks.store import one_line

_POLL_SECONDS = 3
_WORKER_SECONDS = 60
_RESTART_SECONDS = 180
"""Time after which a parent starts a crashed child run again; the automation, if it is enabled, does so earlier."""
_CANCEL_SECONDS = 25
"""Time to cancel child runs; Prefect kills a canceled parent after 30 seconds."""
_PAGE = 200
"""Flow runs that Prefect's server returns at most."""
_NOT_STARTED = (StateType.SCHEDULED, StateType.PAUSED)


def has_workers(children: Sequence[ChildRun]) -> bool:
    """Return whether workers poll the queues of the child runs' deployments.

    A flow run that a worker executes waits for them: all may have just been started.
    """
    names = {_deployment(child) for child in children}
    deadline = time.monotonic() + (_WORKER_SECONDS if deployment.id else 0)
    with get_client(sync_client=True) as client:
        while not (found := all(_is_polled(client, name) for name in names)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    return found


def _is_polled(client: SyncPrefectClient, name: str) -> bool:
    try:
        found = client.read_deployment_by_name(name)
        if found.work_pool_name is None or found.work_queue_name is None:
            return False
        queue = client.read_work_queue_by_name(found.work_queue_name, found.work_pool_name)
    except ObjectNotFound:
        return False
    return queue.status == WorkQueueStatus.READY


def _deployment(child: ChildRun) -> str:
    return f"{child.flow.name}/{child.flow.name}"


def run_on_workers(children: Sequence[ChildRun]) -> tuple[FailedChild, ...]:
    """Start child runs on workers, each followed by its next one, and wait for all of them.

    A parent that is started again finds the child runs that it started before. A crashed child run has not ended: it
    is started again, at most as often as any flow run. If the parent is canceled, so are its child runs; if it is
    stopped in another way, they continue, unless nothing would start it again.

    Returns:
        Those that failed.
    """
    with get_client(sync_client=True) as client:
        workers = _Children(client)
        try:
            return workers.execute(children)
        except BaseException:
            if _is_canceled(client):
                workers.cancel()
            raise


class _Children:
    """The child runs of a parent that have not ended."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._running: dict[UUID, ChildRun] = {}
        self._shown: dict[UUID, str] = {}
        self._crashed_at: dict[tuple[UUID, int], float] = {}
        self._failed: list[FailedChild] = []

    def execute(self, children: Sequence[ChildRun]) -> tuple[FailedChild, ...]:
        for child in children:
            self._start(child)
        while True:
            for run in self._read():
                self._follow(run)
            if not self._running:
                return tuple(self._failed)
            time.sleep(_POLL_SECONDS)

    def _start(self, child: ChildRun) -> None:
        run = run_deployment(
            _deployment(child),
            parameters=child.flow.serialize_parameters({"settings": child.settings}),
            timeout=0,
            idempotency_key=f"{flow_run.root_flow_run_id}/{child.flow.name}/{child.key}",
        )
        assert isinstance(run, FlowRun)
        self._running[run.id] = child
        if run.state and run.state.type in (StateType.FAILED, StateType.CANCELLED):
            # The parent was started again, and so is what had failed.
            self._restart(run, "Started again with its parent.")

    def _read(self) -> Iterator[FlowRun]:
        ids = list(self._running)
        for start in range(0, len(ids), _PAGE):
            page = {"id": {"any_": ids[start : start + _PAGE]}}
            yield from self._client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(page), limit=_PAGE)

    def _follow(self, run: FlowRun) -> None:
        """Handle the current state of a child run."""
        child, state = self._running[run.id], run.state
        assert state is not None
        if self._shown.get(run.id) != (state.name or ""):
            self._shown[run.id] = state.name or ""
            log_message(f"{child.title}: {state.name}")
        if state.type == StateType.CRASHED:
            if run.run_count >= MAX_STARTS:
                self._end(run, f"crashed {run.run_count} times")
            elif self._seconds_crashed(run) > _RESTART_SECONDS:
                self._restart(run, "Started again by its parent after a crash.")
        elif state.type == StateType.COMPLETED:
            del self._running[run.id]
            try:
                following = child.following()
            except Exception as error:
                self._failed.append(FailedChild.of(child, one_line(error)))
            else:
                if following:
                    self._start(following)
        elif state.is_final():
            self._end(run, state.message or str(state.name).lower())

    def _seconds_crashed(self, run: FlowRun) -> float:
        """Return for how long a run has been seen crashed; the time of its state is that of another clock."""
        now = time.monotonic()
        return now - self._crashed_at.setdefault((run.id, run.run_count), now)

    def _end(self, run: FlowRun, reason: str) -> None:
        self._failed.append(FailedChild.of(self._running.pop(run.id), " ".join(reason.split())))

    def _restart(self, run: FlowRun, message: str) -> None:
        retry: State[Any] = AwaitingRetry(scheduled_time=datetime.now(UTC), message=message)
        self._client.set_flow_run_state(run.id, retry, force=True)

    def cancel(self) -> None:
        """Cancel all child runs: those that have not started at once, the others by their workers.

        One that a worker is about to start, or that crashes instead of ending, is seen in a later round.
        """
        deadline = time.monotonic() + _CANCEL_SECONDS
        while self._running and time.monotonic() < deadline:
            for run in list(self._read()):
                state = run.state
                if state is None or state.type == StateType.CANCELLING:
                    continue
                if state.is_final() and state.type != StateType.CRASHED:
                    del self._running[run.id]
                    continue
                waits = state.type in (*_NOT_STARTED, StateType.CRASHED)
                message = "Canceled with its parent."
                canceled: State[Any] = Cancelled(message=message) if waits else Cancelling(message=message)
                with suppress(ObjectNotFound):
                    self._client.set_flow_run_state(run.id, canceled, force=waits)
            time.sleep(1)


def _is_canceled(client: SyncPrefectClient) -> bool:
    """Return whether this parent was canceled, or is that of a command, which nothing starts again."""
    if not deployment.id:
        return True
    state = client.read_flow_run(UUID(flow_run.id)).state
    return state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED)
