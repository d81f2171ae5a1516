"""Messages of a live view: commands of a viewer, and frames as bytes."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.arcade.atlas.atlas import KINDS, Atlas
from tasks.arcade.emulator.emulator import RAM_SIZE
from tasks.arcade.live.keys import Keys
from tasks.arcade.live.palette import Palette
from tasks.arcade.live.session import LiveFrame, LiveState
from tasks.arcade.settings.base import Settings

Speed = Literal["0.25", "0.5", "1", "2", "4"]
_LEVEL = 1
"""Compression level: higher ones take longer and save little of a screen of few colors."""


class Command(Settings):
    """A command of a viewer."""

    do: Literal["pause", "resume", "step", "restart", "speed", "keys", "write", "keep"]
    speed: Speed = Field(default="1", description="Speed relative to the console's own rate")
    keys: Keys = Field(default=Keys(), description="Keys that are held")
    byte: int = Field(default=0, ge=0, lt=RAM_SIZE, description="Byte to modify")
    value: int = Field(default=0, ge=0, le=255, description="New value of the byte")


def encode_frame(frame: LiveFrame, palette: Palette, state: LiveState, extra: dict[str, Any]) -> bytes:
    """Return a frame as bytes, compressed by zlib.

    Layout: length of the JSON (uint32, little-endian), the JSON, then as uint8 the RAM after the last complete step
    (128), the saliency of each byte (128, 0 to 255), the RAM before the frame (128), R, G, B of 256 colors (768), the
    audio (512), and the indices of the screen, row by row.

    Args:
        frame: The frame.
        palette: The palette.
        state: State after the last complete step.
        extra: Further fields of the JSON.
    """
    described = json.dumps(_describe(state) | extra, separators=(",", ":")).encode()
    saliency = np.rint(255 * np.clip(state.readout.saliency, 0, 1)).astype(np.uint8)
    parts = (
        struct.pack("<I", len(described)),
        described,
        state.step.ram.tobytes(),
        saliency.tobytes(),
        frame.ram.tobytes(),
        palette.rgb.tobytes(),
        frame.sound.tobytes(),
        frame.screen.tobytes(),
    )
    return zlib.compress(b"".join(parts), _LEVEL)


def _describe(state: LiveState) -> dict[str, Any]:
    step, readout = state.step, state.readout
    return {
        "step": step.number,
        "frame": step.frame,
        "digest": step.digest,
        "ended": step.ended,
        "bars": [round(float(length), 3) for length in readout.bar_lengths],
        "labels": readout.bar_labels,
        "value": round(readout.value, 3),
        "action": state.decision,
        "agentReturn": state.agent_return,
        "humanReturn": state.human_return,
        "humanSteps": state.human_steps,
        "human": state.human,
        "tampered": state.tampered,
    }


def describe_atlas(atlas: Atlas | None) -> list[dict[str, Any]] | None:
    """Return what an atlas knows of each byte: its effect, its object, and its position on the screen."""
    if atlas is None:
        return None
    return [
        {
            "kind": entry.kind,
            "effect": KINDS[entry.kind],
            "relation": entry.relation,
            "confidence": entry.confidence,
            "object": entry.object,
            "position": position.model_dump() if position else None,
        }
        for entry, position in zip(atlas.entries, atlas.positions(), strict=True)
    ]
