"""What every error of ramreel's own is."""

from __future__ import annotations


class RamreelError(Exception):
    """Something cannot be done; the message is one line: what is wrong, and what would be right."""
