"""Published mean returns to stand beside. Protocols differ, and each figure says which one is its own."""

from __future__ import annotations

from tasks.arcade.settings import Settings


class Reference(Settings):
    """Published mean returns of one game; none where there is none.

    `random` and `human` are those of human-normalised scores (Wang et al. 2016, Dueling DQN). `pixels_ppo` is
    rl-baselines3-zoo's benchmark.md: PPO from pixels (84x84x4, CNN), 10M steps, NoFrameskip-v4 without sticky
    actions, one training run.
    """

    random: float | None = None
    human: float | None = None
    pixels_ppo: float | None = None


REFERENCES: dict[str, Reference] = {
    "pong": Reference(random=-20.7, human=14.6, pixels_ppo=21.0),
    "breakout": Reference(random=1.7, human=30.5, pixels_ppo=398),
    "boxing": Reference(random=0.1, human=12.1),
    "freeway": Reference(random=0.0, human=29.6),
    "space_invaders": Reference(random=148, human=1669, pixels_ppo=960),
    "seaquest": Reference(random=68.4, human=42055, pixels_ppo=1784),
    "ms_pacman": Reference(random=307, human=6952),
    "qbert": Reference(random=164, human=13455, pixels_ppo=15627),
}
"""By ALE's name of the ROM."""
