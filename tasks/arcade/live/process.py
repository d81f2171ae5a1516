"""The process of a live view: plays a checkpoint at the console's own rate, and obeys the commands it receives."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from tasks.arcade.checkpoints import checkpoint as files
from tasks.arcade.errors import RamreelError
from tasks.arcade.live.messages import Command, encode_frame
from tasks.arcade.live.session import LiveError, LiveFrame, LiveSession, LiveState

NICENESS = 10
"""A training on the same machine comes first."""
_LATENESS = 0.25
"""Seconds behind its schedule from which on frames are not made up for."""

Kind = Literal["hello", "frame", "trace", "refusal", "failure"]


@dataclass(frozen=True)
class Report:
    """What the process sends: JSON of the game, a frame, JSON of a trace, or why something failed."""

    kind: Kind
    content: bytes


@dataclass(frozen=True)
class Part:
    """What to play.

    Attributes:
        folder: Folder of the checkpoint.
        digest: Its digest.
        step: Its environment step.
        seed: Seed of the episode.
        deterministic: Whether the agent acts greedily.
    """

    folder: Path
    digest: str
    step: int
    seed: int
    deterministic: bool


def play_live(connection: Connection, part: Part) -> None:
    """Play until `None` is received, or the other end of the connection is closed.

    Args:
        connection: Receives `Command`, sends `Report`.
        part: What to play.
    """
    os.nice(NICENESS)
    # Ctrl-C reaches all processes of a terminal; this one ends with the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        # More threads slow the policy down, and change the last bits of its outputs.
        with threadpool_limits(1):
            checkpoint = files.read_checkpoint(part.folder, part.digest, name=f"at step {part.step}")
            session = LiveSession(checkpoint, part.digest, part.seed, deterministic=part.deterministic)
            _Player(connection, session, checkpoint).run()
    except (EOFError, OSError):
        # The server has closed the view, or is gone.
        return
    except RamreelError as error:
        connection.send(Report("failure", str(error).encode()))


class _Player:
    """Paces the frames of a session."""

    def __init__(self, connection: Connection, session: LiveSession, checkpoint: files.Checkpoint) -> None:
        self._connection, self._session, self._checkpoint = connection, session, checkpoint
        self._paused, self._steps_to_play, self._speed = False, 0, 1.0
        self._queue: deque[tuple[LiveFrame, LiveState | None]] = deque()
        self._counter, self._due = 0, time.monotonic()
        self._restart()

    def run(self) -> None:
        self._send_hello()
        while True:
            if self._connection.poll(self._seconds_to_wait()):
                command: Command | None = self._connection.recv()
                if command is None:
                    return
                self._obey(command)
            else:
                self._play_frame()

    def _send_hello(self) -> None:
        emulator, settings = self._session.emulator, self._checkpoint.settings
        height, width = emulator.screen_size
        hello: dict[str, Any] = {
            "envId": settings.game.env_id,
            "approach": settings.approach.name,
            "height": height,
            "width": width,
            "fps": emulator.screen_fps,
            "actions": emulator.action_names,
            "outputs": self._session.outputs,
            "pixels": self._session.uses_pixels,
        }
        self._connection.send(Report("hello", json.dumps(hello).encode()))

    @property
    def _plays(self) -> bool:
        return bool(self._queue) or (not self._session.ended and (not self._paused or self._steps_to_play > 0))

    def _seconds_to_wait(self) -> float | None:
        return max(0.0, self._due - time.monotonic()) if self._plays else None

    def _play_frame(self) -> None:
        if not self._queue:
            self._steps_to_play = max(0, self._steps_to_play - 1)
            self._fill_queue()
        frame, state = self._queue.popleft()
        self._counter += 1
        # Faster than the console, a viewer gets the console's rate of frames.
        stands_still = not self._plays
        if self._speed <= 1 or stands_still or self._counter % int(self._speed) == 0:
            self._send_frame(frame, state or self._session.state)
        now = time.monotonic()
        self._due += 1 / (self._session.emulator.screen_fps * self._speed)
        if self._due < now - _LATENESS:
            self._due = now

    def _fill_queue(self) -> None:
        before = self._session.state
        frames = self._session.advance()
        # A step's state is complete with its last frame; a person may modify it until then.
        self._queue.extend((frame, before) for frame in frames[:-1])
        self._queue.append((frames[-1], None))

    def _send_frame(self, frame: LiveFrame, state: LiveState) -> None:
        self._shown = frame
        controls = {"paused": self._paused, "speed": self._speed}
        self._connection.send(Report("frame", encode_frame(frame, self._session.palette, state, controls)))

    def _restart(self) -> None:
        self._queue.clear()
        frames = self._session.restart()
        self._queue.append((frames[-1], None))
        self._due = time.monotonic()

    def _obey(self, command: Command) -> None:
        try:
            match command.do:
                case "pause":
                    self._paused = True
                case "resume":
                    self._paused = False
                case "step":
                    self._paused, self._steps_to_play = True, self._steps_to_play + 1
                case "restart":
                    self._restart()
                case "speed":
                    self._speed = float(command.speed)
                case "keys":
                    self._session.hold(command.keys)
                case "write":
                    self._session.write_byte(command.byte, command.value)
                case "keep":
                    self._connection.send(Report("trace", self._session.trace().model_dump_json().encode()))
        except LiveError as error:
            self._connection.send(Report("refusal", str(error).encode()))
        if command.do != "keep" and not self._queue:
            # A view that stands still shows what has changed.
            self._send_frame(self._shown, self._session.state)
