"""Base class of ramreel's errors."""

from __future__ import annotations


class RamreelError(Exception):
    """Base class of the errors ramreel raises; the message is one line: what is wrong, then what would be right."""
