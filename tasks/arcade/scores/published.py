"""Published mean returns for reference; their protocols differ, as noted for each."""

from __future__ import annotations

from tasks.arcade.settings.base import Settings


class Reference(Settings):
    """Published mean returns of one game, or None.

    `random` and `human` define human-normalized scores (Wang et al. 2016, Dueling DQN; 57 games). `pixels_ppo` is from
    rl-baselines3-zoo's benchmark.md: PPO from pixels (84x84x4, CNN), 10M steps, NoFrameskip-v4 without sticky
    actions, one training run.
    """

    random: float | None = None
    human: float | None = None
    pixels_ppo: float | None = None


REFERENCES: dict[str, Reference] = {
    "alien": Reference(random=227.8, human=7127.7),
    "amidar": Reference(random=5.8, human=1719.5),
    "assault": Reference(random=222.4, human=742.0),
    "asterix": Reference(random=210, human=8503.3),
    "asteroids": Reference(random=719.1, human=47388.7),
    "atlantis": Reference(random=12850, human=29028.1),
    "bank_heist": Reference(random=14.2, human=753.1),
    "battle_zone": Reference(random=2360, human=37187.5),
    "beam_rider": Reference(random=363.9, human=16926.5),
    "berzerk": Reference(random=123.7, human=2630.4),
    "bowling": Reference(random=23.1, human=160.7),
    "boxing": Reference(random=0.1, human=12.1),
    "breakout": Reference(random=1.7, human=30.5, pixels_ppo=398),
    "centipede": Reference(random=2090.9, human=12017.0),
    "chopper_command": Reference(random=811, human=7387.8),
    "crazy_climber": Reference(random=10780.5, human=35829.4),
    "defender": Reference(random=2874.5, human=18688.9),
    "demon_attack": Reference(random=152.1, human=1971.0),
    "double_dunk": Reference(random=-18.6, human=-16.4),
    "enduro": Reference(random=0, human=860.5),
    "fishing_derby": Reference(random=-91.7, human=-38.7),
    "freeway": Reference(random=0, human=29.6),
    "frostbite": Reference(random=65.2, human=4334.7),
    "gopher": Reference(random=257.6, human=2412.5),
    "gravitar": Reference(random=173, human=3351.4),
    "hero": Reference(random=1027, human=30826.4),
    "ice_hockey": Reference(random=-11.2, human=0.9),
    "jamesbond": Reference(random=29, human=302.8),
    "kangaroo": Reference(random=52, human=3035.0),
    "krull": Reference(random=1598, human=2665.5),
    "kung_fu_master": Reference(random=258.5, human=22736.3),
    "montezuma_revenge": Reference(random=0, human=4753.3),
    "ms_pacman": Reference(random=307.3, human=6951.6),
    "name_this_game": Reference(random=2292.3, human=8049.0),
    "phoenix": Reference(random=761.4, human=7242.6),
    "pitfall": Reference(random=-229.4, human=6463.7),
    "pong": Reference(random=-20.7, human=14.6, pixels_ppo=21.0),
    "private_eye": Reference(random=24.9, human=69571.3),
    "qbert": Reference(random=163.9, human=13455.0, pixels_ppo=15627),
    "riverraid": Reference(random=1338.5, human=17118.0),
    "road_runner": Reference(random=11.5, human=7845.0),
    "robotank": Reference(random=2.2, human=11.9),
    "seaquest": Reference(random=68.4, human=42054.7, pixels_ppo=1784),
    "skiing": Reference(random=-17098.1, human=-4336.9),
    "solaris": Reference(random=1236.3, human=12326.7),
    "space_invaders": Reference(random=148, human=1668.7, pixels_ppo=960),
    "star_gunner": Reference(random=664, human=10250.0),
    "surround": Reference(random=-10, human=6.5),
    "tennis": Reference(random=-23.8, human=-8.3),
    "time_pilot": Reference(random=3568, human=5229.2),
    "tutankham": Reference(random=11.4, human=167.6),
    "up_n_down": Reference(random=533.4, human=11693.2),
    "venture": Reference(random=0, human=1187.5),
    "video_pinball": Reference(random=16256.9, human=17667.9),
    "wizard_of_wor": Reference(random=563.5, human=4756.5),
    "yars_revenge": Reference(random=3092.9, human=54576.9),
    "zaxxon": Reference(random=32.5, human=9173.3),
}
"""References by ALE's ROM name."""


MILESTONE_RETURNS: dict[str, tuple[float, ...]] = {
    "pong": (0, 18),
    "breakout": (10, 100, 400),
    "boxing": (50, 90),
    "freeway": (20, 30),
    "space_invaders": (500, 1000),
    "seaquest": (1000, 2000),
    "ms_pacman": (1000, 3000),
    "qbert": (5000, 15000),
}
"""Mean returns that are milestones of a game, by ALE's ROM name."""
