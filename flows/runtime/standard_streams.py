"""Standard streams that outlive their terminal, pipe or file: no command fails because its output is not read."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

_STDERR = 2
_WITHOUT_READER = (errno.EPIPE, errno.EIO)
"""The reader of a pipe has exited; the terminal was closed."""


class _DiscardingFile(io.FileIO):
    """A descriptor that discards output without a reader."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _WITHOUT_READER:
                raise
            return memoryview(data).nbytes


def secure_standard_streams() -> None:
    """Open the standard streams that are closed, and let the others outlive their readers.

    The next file that is opened, a database or a video, would have the descriptor of a closed stream, and everything
    that a child process prints would go into it. Characters that the encoding lacks, as in the C locale, are escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free descriptor, which is this one; child processes inherit it like any standard stream.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115 - for the life of the process
    sys.stdout = _discarding(sys.stdout, 1)
    sys.stderr = _discarding(sys.stderr, _STDERR)


def _discarding(stream: TextIO | None, descriptor: int) -> io.TextIOWrapper:
    raw: io.RawIOBase = _DiscardingFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=descriptor == _STDERR or os.isatty(descriptor),
    )
