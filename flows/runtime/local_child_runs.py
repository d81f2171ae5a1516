"""Child flow runs side by side on this machine, each in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Self
from uuid import UUID

from prefect import Task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext, TagsContext
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from prefect.states import Crashed, Pending

from flows.runtime.child_process import Assignment, Ended, Line, Message, Update, start_child_process
from flows.runtime.child_run import ChildRun, FailedChild
from flows.runtime.machine_share import MachineShare
from tasks.arcade.progress import Progress
from tasks.execution.crash_loop import MAX_STARTS
from tasks.execution.progress_sink import current_sink, log_message
from tasks.store import one_line

_STOP_SECONDS = 25
"""Time to save a last checkpoint after SIGTERM; Prefect kills a canceled flow run after 30 seconds."""


def run_side_by_side(children: Sequence[ChildRun], share: MachineShare) -> tuple[FailedChild, ...]:
    """Execute child runs in processes of their own; a child run whose process is killed is started again.

    The processes report progress to the sink of this one. They are terminated when this process is stopped, and then
    save a last checkpoint of their training runs; they end with it even if it is killed.

    Args:
        children: the child runs.
        share: how many are executed at the same time, and the number of cores of each.

    Returns:
        Those that failed.
    """
    with get_client(sync_client=True) as client:
        environment = get_current_settings().to_environment_variables(exclude_unset=True)
        # The temporary server of a command has no other address.
        environment["PREFECT_API_URL"] = str(client.api_url).rstrip("/")
        with _Processes(client, share, environment) as processes:
            return processes.execute(children)


@dataclass
class _Slot:
    """A process, and the child run that it is executing, if any."""

    process: SpawnProcess
    pipe: Connection
    child: ChildRun | None = None
    flow_run_id: UUID | None = None


class _Processes:
    """The processes of a parent's child runs."""

    def __init__(self, client: SyncPrefectClient, share: MachineShare, environment: dict[str, str]) -> None:
        self._client, self._share, self._environment = client, share, environment
        self._slots: list[_Slot] = []
        self._waiting: deque[ChildRun] = deque()
        self._failed: list[FailedChild] = []
        self._deaths: dict[UUID, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop()
        finally:
            # A second Ctrl-C may have interrupted it.
            for slot in self._slots:
                slot.process.kill()
                slot.process.join()
                slot.pipe.close()

    def execute(self, children: Sequence[ChildRun]) -> tuple[FailedChild, ...]:
        self._waiting.extend(children)
        while True:
            while self._waiting and (slot := self._free_slot()):
                self._start(slot, self._waiting.popleft())
            if not (busy := {slot.pipe: slot for slot in self._slots if slot.child}):
                return tuple(self._failed)
            for pipe in wait(list(busy)):
                self._receive(busy[pipe])  # type: ignore[index]

    def _free_slot(self) -> _Slot | None:
        if free := next((slot for slot in self._slots if slot.child is None), None):
            return free
        if len(self._slots) == self._share.at_once:
            return None
        self._slots.append(slot := _Slot(*start_child_process(self._share.cores, self._environment)))
        return slot

    def _start(self, slot: _Slot, child: ChildRun) -> None:
        """Start a child run, or what follows it if it has completed before this parent was started again."""
        flow_run = _create_or_find(self._client, child)
        if flow_run.state and flow_run.state.is_completed():
            if following := self._following(child):
                self._start(slot, following)
            return
        if flow_run.state and not flow_run.state.is_pending():
            _set_state(self._client, flow_run.id, Pending(message="Started again by its parent."))
        slot.child, slot.flow_run_id = child, flow_run.id
        function = child.flow.fn
        log_message(f"{child.title} starts")
        with suppress(BrokenPipeError):
            slot.pipe.send(Assignment(function.__module__, function.__name__, flow_run.id, child.settings))

    def _receive(self, slot: _Slot) -> None:
        try:
            message: Message = slot.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._restart(slot)
            return
        if isinstance(message, Ended):
            child, slot.child = slot.child, None
            assert child is not None
            if message.reason is not None:
                self._failed.append(FailedChild.of(child, message.reason))
                log_message(f"{child.title} failed: {message.reason}")
            else:
                get_run_logger().info("%s completed", child.title)
                if following := self._following(child):
                    self._start(slot, following)
        else:
            _show(message)

    def _following(self, child: ChildRun) -> ChildRun | None:
        try:
            return child.following()
        except Exception as error:
            self._failed.append(FailedChild.of(child, one_line(error)))
            return None

    def _restart(self, slot: _Slot) -> None:
        """Start the child run of a process that has died again, in a new process."""
        child, flow_run_id = slot.child, slot.flow_run_id
        assert child is not None
        assert flow_run_id is not None
        slot.process.join()
        slot.pipe.close()
        self._slots.remove(slot)
        reason = f"its process ended with exit code {slot.process.exitcode}"
        _set_state(self._client, flow_run_id, Crashed(message=f"{reason.capitalize()}."))
        self._deaths[flow_run_id] = self._deaths.get(flow_run_id, 0) + 1
        if self._deaths[flow_run_id] < MAX_STARTS:
            log_message(f"{child.title}: {reason}; it is started again")
            self._waiting.appendleft(child)
        else:
            self._failed.append(FailedChild.of(child, f"{reason}, {MAX_STARTS} times"))

    def _stop(self) -> None:
        """Terminate the processes, and wait until training runs have saved a last checkpoint."""
        for slot in self._slots:
            with suppress(ProcessLookupError):
                os.kill(slot.process.pid or 0, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        open_pipes = {slot.pipe for slot in self._slots}
        # A process whose messages nobody reads would block.
        while open_pipes and (ready := wait(list(open_pipes), max(0, deadline - time.monotonic()))):
            for pipe in ready:
                assert isinstance(pipe, Connection)
                try:
                    message: Message = pipe.recv()
                    if isinstance(message, Line):
                        # Such as how to resume a training run that was stopped.
                        _show(message)
                except (EOFError, ConnectionResetError):
                    open_pipes.discard(pipe)


def _show(message: Update | Line) -> None:
    sink = current_sink()
    if isinstance(message, Line):
        log_message(message.text)
    elif isinstance(message.progress, Progress):
        sink.update(message.name, message.progress)
    else:
        sink.update_recording(message.name, message.progress)


def _create_or_find(client: SyncPrefectClient, child: ChildRun) -> FlowRun:
    """Return the flow run of a child run: an existing one if the parent was started again."""
    parent = FlowRunContext.get()
    assert parent is not None
    assert parent.flow_run is not None
    tracking = Task(name=child.flow.name, fn=child.flow.fn, version=child.flow.version)
    task_run = client.create_task_run(tracking, parent.flow_run.id, dynamic_key=child.key, state=Pending())
    of_task_run = FlowRunFilter.model_validate({"parent_task_run_id": {"any_": [task_run.id]}})
    if found := client.read_flow_runs(flow_run_filter=of_task_run, limit=1):
        return found[0]
    tags = TagsContext.get().current_tags
    parameters = child.flow.serialize_parameters({"settings": child.settings})
    return client.create_flow_run(
        child.flow, parameters=parameters, parent_task_run_id=task_run.id, state=Pending(), tags=tags
    )


def _set_state(client: SyncPrefectClient, flow_run_id: UUID, state: State[Any]) -> None:
    client.set_flow_run_state(flow_run_id, state, force=True)
