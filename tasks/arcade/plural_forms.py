"""Numbers with nouns."""

from __future__ import annotations


def pluralize(count: int, noun: str, plural: str | None = None) -> str:
    """`1 seed`, `3 seeds`, `1,000 episodes`; `plural` overrides the regular form."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
