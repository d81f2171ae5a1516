"""Live views: one process with an emulator for all viewers of a checkpoint and seed, started and ended with them.

The server's event loop never waits for an emulator, and an emulator never for a viewer: a viewer who is slow gets the
latest frame when ready for one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing as mp
import queue
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tasks.arcade.atlas.atlas import Atlas
from tasks.arcade.emulator.environment_ids import rom_digest
from tasks.arcade.errors import RamreelError
from tasks.arcade.live.keys import Keys
from tasks.arcade.live.messages import Command, describe_atlas
from tasks.arcade.live.process import Part, Report, play_live
from tasks.store import Store, StoredCheckpoint, newest_atlas

MAX_VIEWS = 4
"""Live views at a time, each with an emulator: about 5% of a core at the console's own rate."""
LINGER_SECONDS = 1.0
"""How long an emulator outlives its last viewer, who may only be reloading the page."""
_TERMINATION_SECONDS = 5.0
_TRACE_SECONDS = 30.0
"""How long an emulator may take to answer with its trace; it has only to get a turn of the CPU."""
_MAX_COMMANDS = 64
"""Commands that wait for an emulator; more are lost."""
_MAX_TEXTS = 16
"""Messages besides frames that wait for a viewer; older ones are lost."""


class TooManyViewsError(RamreelError):
    """The maximum of live views is reached."""


@dataclass(frozen=True)
class ViewKey:
    """What is played: viewers of the same key share an emulator."""

    checkpoint: StoredCheckpoint
    seed: int
    deterministic: bool = False


class Viewer:
    """What waits to be sent to one viewer: messages in order, and the latest frame."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque(maxlen=_MAX_TEXTS)
        self._frame: bytes | None = None
        self._ready, self.closed = asyncio.Event(), False

    def put_frame(self, frame: bytes) -> None:
        """Replace the frame that waits."""
        self._frame = frame
        self._ready.set()

    def put_text(self, kind: str, **fields: object) -> None:
        """Append a message."""
        self._texts.append(json.dumps({"type": kind, **fields}))
        self._ready.set()

    def close(self) -> None:
        """End the iteration once all messages are sent."""
        self.closed = True
        self._ready.set()

    async def messages(self) -> AsyncIterator[str | bytes]:
        """Yield what is to be sent, as soon as there is something."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._texts:
                yield self._texts.popleft()
            if self.closed:
                return
            if self._frame is not None:
                frame, self._frame = self._frame, None
                yield frame


class LiveView:
    """One emulator in a process of its own, and its viewers. Used by the event loop alone.

    Args:
        key: What is played.
        store: Where the checkpoint is.
        on_end: Called when the process has ended.
    """

    def __init__(self, key: ViewKey, store: Store, on_end: Callable[[], object]) -> None:
        self.key, self.viewers = key, set[Viewer]()
        self._on_end, self._loop = on_end, asyncio.get_running_loop()
        self._hello: dict[str, Any] | None = None
        self._frame: bytes | None = None
        self._failure = ""
        self._traces: list[asyncio.Future[bytes]] = []
        self._commands: queue.Queue[Command | None] = queue.Queue(_MAX_COMMANDS)
        self._process = _EmulatorProcess(key, store, self._commands, self._report)
        threading.Thread(target=self._process.run, name="ramreel-live", daemon=True).start()

    def add(self, viewer: Viewer) -> None:
        """Add a viewer, who gets the latest frame."""
        self.viewers.add(viewer)
        if self._hello is not None:
            viewer.put_text("hello", **self._hello)
        if self._frame is not None:
            viewer.put_frame(self._frame)
        self._count()

    def remove(self, viewer: Viewer) -> None:
        """Remove a viewer, whose keys are released."""
        self.viewers.discard(viewer)
        self.send(Command(do="keys", keys=Keys()))
        self._count()

    def send(self, command: Command) -> None:
        """Pass a command to the emulator; it is lost if too many wait."""
        with suppress(queue.Full):
            self._commands.put_nowait(command)

    def end(self) -> None:
        """End the process."""
        self._process.end()

    async def trace(self) -> bytes:
        """Return the JSON of the trace of the episode so far.

        Raises:
            RamreelError: There is none.
        """
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._traces.append(future)
        self.send(Command(do="keep"))
        try:
            return await asyncio.wait_for(future, _TRACE_SECONDS)
        except TimeoutError:
            raise RamreelError("The emulator does not respond: try again in a moment") from None

    @property
    def atlas(self) -> Atlas | None:
        """Atlas of the game."""
        return self._process.atlas

    def broadcast(self, kind: str, **fields: object) -> None:
        """Send a message to all viewers."""
        for viewer in self.viewers:
            viewer.put_text(kind, **fields)

    def _count(self) -> None:
        self.broadcast("viewers", count=len(self.viewers))

    def _report(self, report: Report | None) -> None:
        """Receive a report of the process, or None when it has ended; called by its thread."""
        with suppress(RuntimeError):
            # The event loop may be closed already.
            self._loop.call_soon_threadsafe(self._receive, report)

    def _receive(self, report: Report | None) -> None:
        if report is None:
            self._close()
            return
        match report.kind:
            case "frame":
                self._frame = report.content
                for viewer in self.viewers:
                    viewer.put_frame(report.content)
            case "hello":
                self._hello = json.loads(report.content) | {"atlas": describe_atlas(self.atlas)}
                self.broadcast("hello", **self._hello)
            case "trace" if future := self._waiting():
                future.set_result(report.content)
            case "refusal" if future := self._waiting():
                future.set_exception(RamreelError(report.content.decode()))
            case "refusal":
                self.broadcast("notice", message=report.content.decode())
            case "failure":
                self._failure = report.content.decode()

    def _waiting(self) -> asyncio.Future[bytes] | None:
        """Return what waits for a trace longest, and forget it; None if nothing does."""
        while self._traces:
            if not (future := self._traces.pop(0)).done():
                return future
        return None

    def _close(self) -> None:
        message = self._failure or "The emulator has ended unexpectedly: reload the page to start it again"
        if self._failure or self.viewers:
            logging.getLogger("ramreel").warning("live view: %s", message)
        while future := self._waiting():
            future.set_exception(RamreelError(message))
        for viewer in self.viewers:
            viewer.put_text("failure", message=message)
            viewer.close()
        self._on_end()


class _EmulatorProcess:
    """The process, and the threads that wait for it.

    Attributes:
        atlas: Atlas of the game; None before the first report, and if there is none.
    """

    def __init__(
        self,
        key: ViewKey,
        store: Store,
        commands: queue.Queue[Command | None],
        report: Callable[[Report | None], object],
    ) -> None:
        self._key, self._store, self._commands, self._report = key, store, commands, report
        self._ended = threading.Event()
        self.atlas: Atlas | None = None

    def run(self) -> None:
        """Start the process and pass on its reports until it ends."""
        try:
            with tempfile.TemporaryDirectory(prefix="ramreel-live-") as scratch:
                folder = self._store.fetch_checkpoint(self._key.checkpoint, Path(scratch))
                self.atlas = self._find_atlas()
                self._play(folder)
        except RamreelError as error:
            self._report(Report("failure", str(error).encode()))
        finally:
            self._report(None)

    def end(self) -> None:
        """End the process; it is killed if it does not respond."""
        self._ended.set()
        with suppress(queue.Full):
            self._commands.put_nowait(None)

    def _find_atlas(self) -> Atlas | None:
        with suppress(RamreelError):
            settings = self._store.run(self._key.checkpoint.run_id).settings
            if settings is not None:
                atlas = newest_atlas(self._store, settings.game.rom)
                return atlas if atlas and atlas.rom_sha256 == rom_digest(settings.game.rom) else None
        return None

    def _play(self, folder: Path) -> None:
        if self._ended.is_set():
            return
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        stored = self._key.checkpoint
        part = Part(folder, stored.digest, stored.step, self._key.seed, self._key.deterministic)
        process = context.Process(target=play_live, args=(theirs, part), name="ramreel-live", daemon=True)
        process.start()
        theirs.close()
        sender = threading.Thread(target=self._send_commands, args=(ours,), name="ramreel-live-commands", daemon=True)
        sender.start()
        watchdog = threading.Thread(target=self._kill_when_stuck, args=(process,), daemon=True)
        watchdog.start()
        with suppress(EOFError, OSError):
            while True:
                self._report(ours.recv())
        process.join(_TERMINATION_SECONDS)
        self.end()
        sender.join(_TERMINATION_SECONDS)
        ours.close()

    def _send_commands(self, connection: Connection) -> None:
        with suppress(OSError):
            while (command := self._commands.get()) is not None:
                connection.send(command)
            connection.send(None)

    def _kill_when_stuck(self, process: Any) -> None:
        self._ended.wait()
        process.join(_TERMINATION_SECONDS)
        process.kill()


class LiveViews:
    """All live views of a server.

    Args:
        store: The store.
        maximum: Maximum number of live views.
    """

    def __init__(self, store: Store, maximum: int = MAX_VIEWS) -> None:
        self.store, self._maximum = store, maximum
        self._views: dict[ViewKey, LiveView] = {}

    @asynccontextmanager
    async def join(self, key: ViewKey) -> AsyncIterator[tuple[LiveView, Viewer]]:
        """Join the viewers of a key within the block.

        Raises:
            TooManyViewsError: The maximum is reached, and nobody watches this key.
        """
        view, viewer = self._views.get(key) or self._start(key), Viewer()
        view.add(viewer)
        try:
            yield view, viewer
        finally:
            view.remove(viewer)
            # Not a timer of the event loop, which may end before: the process would outlive the server.
            timer = threading.Timer(LINGER_SECONDS, self._end_later, (view, asyncio.get_running_loop()))
            timer.daemon = True
            timer.start()

    def _start(self, key: ViewKey) -> LiveView:
        for view in list(self._views.values()):
            if len(self._views) >= self._maximum:
                self._end_unwatched(view)
        if len(self._views) >= self._maximum:
            raise TooManyViewsError(
                f"All {self._maximum} live views are in use: close another one, or watch one that somebody else watches"
            )
        view = LiveView(key, self.store, lambda: self._forget(view))
        self._views[key] = view
        return view

    def _end_later(self, view: LiveView, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._end_unwatched, view)
        except RuntimeError:
            view.end()

    def _end_unwatched(self, view: LiveView) -> None:
        if not view.viewers and self._views.get(view.key) is view:
            self._forget(view)
            view.end()

    def _forget(self, view: LiveView) -> None:
        if self._views.get(view.key) is view:
            del self._views[view.key]
