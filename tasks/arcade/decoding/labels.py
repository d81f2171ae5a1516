"""Bytes whose meaning AtariARI has published (Anand et al. 2019), counted from 0."""

from __future__ import annotations

from collections.abc import Mapping

_LABELS: Mapping[str, Mapping[str, int]] = {
    "pong": {
        "player_y": 51, "player_x": 46, "enemy_y": 50, "enemy_x": 45, "ball_x": 49, "ball_y": 54, "enemy_score": 13,
        "player_score": 14,
    },
    "breakout": {
        "ball_x": 99, "ball_y": 101, "player_x": 72, "blocks_hit_count": 77, "score": 84,
        **{f"block_bit_map_{byte}": byte for byte in range(30)},
    },
    "boxing": {
        "player_x": 32, "player_y": 34, "enemy_x": 33, "enemy_y": 35, "enemy_score": 19, "clock": 17,
        "player_score": 18,
    },
    "seaquest": {
        "player_x": 70, "player_y": 97, "oxygen_meter_value": 102, "num_lives": 59, "divers_collected_count": 62,
        "player_direction": 86, "player_missile_x": 103, "player_missile_direction": 87, "score_0": 57, "score_1": 58,
        **{f"enemy_obstacle_x_{byte - 30}": byte for byte in range(30, 34)},
        **{f"diver_or_enemy_missile_x_{byte - 71}": byte for byte in range(71, 75)},
    },
    "ms_pacman": {
        "enemy_sue_x": 6, "enemy_inky_x": 7, "enemy_pinky_x": 8, "enemy_blinky_x": 9, "enemy_sue_y": 12,
        "enemy_inky_y": 13, "enemy_pinky_y": 14, "enemy_blinky_y": 15, "player_x": 10, "player_y": 16, "fruit_x": 11,
        "fruit_y": 17, "ghosts_count": 19, "player_direction": 56, "dots_eaten_count": 119, "player_score": 120,
        "num_lives": 123,
    },
    "space_invaders": {
        "invaders_left_count": 17, "player_score": 104, "num_lives": 73, "player_x": 28, "enemies_x": 26,
        "missiles_y": 9, "enemies_y": 24,
    },
    "freeway": {
        "player_y": 14, "score": 103, **{f"enemy_car_x_{byte - 108}": byte for byte in range(108, 118)},
    },
}  # fmt: skip


def labels_of(rom: str) -> Mapping[str, int]:
    """Return the byte of each label of a ROM; empty if AtariARI has none."""
    return _LABELS.get(rom, {})
