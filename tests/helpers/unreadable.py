"""An emulator whose state cannot be read: only its screen."""

from __future__ import annotations

from typing import Any

import gymnasium


class UnreadableState:
    """ALE's interface without anything that tells the emulator's state."""

    ALLOWED = frozenset({"act", "reset_game", "game_over", "game_truncated", "getScreenRGB", "lives"})
    COUNTERS = frozenset({"getEpisodeFrameNumber", "getFrameNumber"})
    LOADING = frozenset({"loadROM", "setBool", "setDifficulty", "setFloat", "setInt", "setMode"})

    def __init__(self, ale: Any, allowed: frozenset[str] = frozenset()) -> None:
        self._ale, self._allowed = ale, self.ALLOWED | self.COUNTERS | allowed

    def __getattr__(self, name: str) -> Any:
        assert name in self._allowed, f"{name} was called"
        return getattr(self._ale, name)


def without_state(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Return an environment of ale-py after making its state unreadable; it can be reset with a seed."""
    interface: Any = env.unwrapped
    interface.ale = UnreadableState(interface.ale, UnreadableState.LOADING)
    return env
