"""Settings of the emulator."""

from __future__ import annotations

from pydantic import Field, field_validator

from tasks.arcade.settings.base import Settings

MAX_ACTIONS = 18
"""Number of ALE's actions; a game's minimal action set has as many or fewer."""


class GameSettings(Settings):
    """Settings that determine an episode: together with a seed and the actions they always give the same RAM."""

    env_id: str = Field(
        pattern=r"^[\w./:-]{1,100}$", description="Gymnasium environment id registered by ale-py, e.g. ALE/Pong-v5"
    )
    rom: str = Field(pattern=r"^[a-z0-9_]+$", description="ROM name in ale-py, e.g. pong")
    frame_skip: int | tuple[int, int] = Field(
        description="Frames per step; a pair (low, high) samples low <= n < high at every step"
    )
    repeat_action_probability: float = Field(
        ge=0, le=1, description="Sticky actions: probability, at every frame, of repeating the previous action"
    )
    full_action_space: bool = Field(
        default=False, description="Use all 18 actions instead of the game's minimal action set"
    )
    mode: int | None = Field(default=None, description="Game mode (default: the ROM's)")
    difficulty: int | None = Field(default=None, description="Game difficulty (default: the ROM's)")
    max_episode_frames: int = Field(
        default=108_000, ge=1, le=1_000_000, description="Frames after which an episode is truncated"
    )

    @field_validator("frame_skip")
    @classmethod
    def _validate_frame_skip(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        low, high = value if isinstance(value, tuple) else (value, value + 1)
        if not 1 <= low < high <= 61:
            raise ValueError(f"frame_skip {value} is invalid: use 1 to 60 frames, or an increasing pair")
        return value

    @property
    def frames_per_step(self) -> float:
        """Frames per step, on average."""
        if isinstance(self.frame_skip, int):
            return self.frame_skip
        low, high = self.frame_skip
        return (low + high - 1) / 2
