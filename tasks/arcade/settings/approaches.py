"""The named approaches. A new one is one entry here (and a class in settings.py if its parameters are new)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from tasks.arcade.errors import RamreelError
from tasks.arcade.settings.algorithms import (
    A2cSettings,
    DqnSettings,
    PpoSettings,
    QrDqnSettings,
    RecurrentPpoSettings,
    UnlearnedSettings,
)
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import Convolution, NetworkSettings, QNetworkSettings, RecurrentNetworkSettings
from tasks.arcade.settings.run import ApproachSettings

_TUNED = ApproachSettings(
    name="ppo-tuned",
    description="PPO on standardized RAM, its change and the gaps between moving_bytes, one recipe for all games",
    algorithm=PpoSettings(
        n_steps=256,
        batch_size=512,
        n_epochs=4,
        learning_rate="lin_7e-4_5e-5",
        ent_coef="lin_1e-2",
        # With these features the value function tells a good shot from a bad one as soon as it is struck.
        gae_lambda=0.8,
        # Far beyond gamma's horizon lies what a lost life costs while others are left: unless that is told, Breakout's
        # ball is let go.
        terminal_on_life_loss=True,
        # Freeway's first street is crossed by chance, or never, by those who do not keep walking.
        no_reward_logit_noise=1.0,
        network=NetworkSettings(pi=(256, 256), vf=(256, 256), activation="relu"),
    ),
    features=FeatureSettings(
        kind="standardized",
        difference_scale=8.0,
        moving_bytes=8,
        gap_scales=(8.0, 24.0, 64.0),
        gap_periods=(12.0, 24.0, 48.0, 96.0),
    ),
    n_envs=16,
    reward="root",
)

# Batches of whole sequences side by side: an LSTM goes through them step by step, whatever their number. Rollouts are
# half as long as ppo-tuned's, so that there are more of them in a batch.
_RECURRENT = _TUNED.model_copy(
    update={
        "name": "recurrent-ppo",
        "description": "sb3-contrib's RecurrentPPO on ppo-tuned's features: an LSTM remembers what RAM does not show",
        "algorithm": RecurrentPpoSettings(
            n_steps=128,
            batch_size=512,
            n_epochs=4,
            learning_rate="lin_7e-4_5e-5",
            ent_coef="lin_1e-2",
            terminal_on_life_loss=True,
            no_reward_logit_noise=1.0,
            network=RecurrentNetworkSettings(lstm=128, pi=(128,), vf=(128,), activation="relu"),
        ),
    }
)

_Q_NETWORK = QNetworkSettings(layers=(128, 128), layer_norm=True)

# As rl-baselines3-zoo has it for Atari, and the network of Mnih et al. 2015, which is Stable-Baselines3's NatureCNN.
_PIXELS = ApproachSettings(
    name="ppo-pixels",
    description="PPO on the screen instead of RAM: the usual convolutions over the last four pictures, 84 x 84 in gray",
    algorithm=PpoSettings(
        n_steps=128,
        batch_size=256,
        n_epochs=4,
        learning_rate="lin_2.5e-4",
        clip_range="lin_0.1",
        ent_coef=0.01,
        network=NetworkSettings(
            convolutions=(
                Convolution(channels=32, side=8, stride=4),
                Convolution(channels=64, side=4, stride=2),
                Convolution(channels=64, side=3, stride=1),
            ),
            body=(512,),
            pi=(),
            vf=(),
            activation="relu",
        ),
    ),
    features=FeatureSettings(kind="pixels"),
    reward="sign",
)

APPROACHES: dict[str, ApproachSettings] = {
    approach.name: approach
    for approach in (
        ApproachSettings(
            name="ppo",
            description="Stable-Baselines3's PPO as shipped, on RAM scaled to [0, 1]",
            algorithm=PpoSettings(),
            features=FeatureSettings(kind="scaled"),
        ),
        _TUNED,
        _TUNED.model_copy(
            update={
                "name": "ppo-pipelined",
                "description": "ppo-tuned, playing the next rollout while it learns from the last: faster by the "
                "clock, slower by steps",
                "algorithm": _TUNED.algorithm.model_copy(update={"pipelined": True}),
            }
        ),
        ApproachSettings(
            name="ppo-bits",
            description="Stable-Baselines3's PPO as shipped, on the 2,048 bits of this step's RAM and the one before",
            algorithm=PpoSettings(),
            features=FeatureSettings(kind="bits"),
        ),
        _RECURRENT,
        _PIXELS,
        ApproachSettings(
            name="a2c",
            description="Stable-Baselines3's A2C as shipped, on RAM scaled to [0, 1]",
            algorithm=A2cSettings(),
            features=FeatureSettings(kind="scaled"),
        ),
        ApproachSettings(
            name="dqn",
            description="Stable-Baselines3's DQN on ppo-tuned's features, from a replay buffer of RAM",
            algorithm=DqnSettings(network=_Q_NETWORK),
            features=_TUNED.features,
            n_envs=16,
            reward="sign",
        ),
        ApproachSettings(
            name="qrdqn",
            description="sb3-contrib's QR-DQN, the distribution of what is to come instead of its mean, as dqn",
            algorithm=QrDqnSettings(network=_Q_NETWORK),
            features=_TUNED.features,
            n_envs=16,
            reward="sign",
        ),
        ApproachSettings(
            name="random",
            description="uniformly random actions, nothing learned",
            algorithm=UnlearnedSettings(),
            features=FeatureSettings(kind="scaled"),
        ),
        ApproachSettings(
            name="noop",
            description="no button is ever pressed, nothing learned",
            algorithm=UnlearnedSettings(algorithm="noop"),
            features=FeatureSettings(kind="scaled"),
        ),
    )
}


class UnknownApproachError(RamreelError, ValueError):
    """There is no such approach; the message lists those that there are."""


def approach(name: str) -> ApproachSettings:
    """The approach of this name.

    Raises:
        UnknownApproachError: there is none.
    """
    if name in APPROACHES:
        return APPROACHES[name]
    raise UnknownApproachError(f"no approach {name!r}: {offer(name, APPROACHES)}")


def offer(word: str, there: Iterable[str], also: Iterable[str] = ()) -> str:
    """What would be right instead of a word that there is not: the nearest one, of `also` too, then all there are."""
    names = list(there)
    near = difflib.get_close_matches(word, [*names, *also], n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}there are {', '.join(names)}"
