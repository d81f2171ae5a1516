"""Settings of an emulator."""

from __future__ import annotations

from pydantic import Field, field_validator

from tasks.arcade.settings.base import Settings


class GameSettings(Settings):
    """Everything that decides what an emulator does: with a seed and actions it gives the same RAM for ever."""

    env_id: str = Field(
        pattern=r"^[\w./:-]{1,100}$", description="Gymnasium's id, as ale-py registers it, e.g. ALE/Pong-v5"
    )
    rom: str = Field(pattern=r"^[a-z0-9_]+$", description="ale-py's name of the ROM, e.g. pong")
    frame_skip: int | tuple[int, int] = Field(
        description="frames a step; a pair (low, high) draws low <= n < high anew at every step"
    )
    repeat_action_probability: float = Field(
        ge=0, le=1, description="sticky actions: chance, at every frame, that the last action is repeated"
    )
    full_action_space: bool = Field(default=False, description="all 18 actions instead of the game's own few")
    mode: int | None = Field(default=None, description="the game's mode switch; none: the ROM's default")
    difficulty: int | None = Field(default=None, description="the difficulty switch; none: the ROM's default")
    max_episode_frames: int = Field(
        default=108_000, ge=1, le=1_000_000, description="frames after which an episode is truncated"
    )

    @field_validator("frame_skip")
    @classmethod
    def _frame_skip_is_possible(cls, value: int | tuple[int, int]) -> int | tuple[int, int]:
        low, high = value if isinstance(value, tuple) else (value, value + 1)
        if not 1 <= low < high <= 61:
            raise ValueError(f"frame_skip {value} is not possible: 1 to 60 frames, a pair in rising order")
        return value
