"""The named approaches; a new one is one entry in `APPROACHES`."""

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
    description="PPO tuned across games, on standardized RAM, its changes and the gaps between moving bytes",
    algorithm=PpoSettings(
        n_steps=256,
        batch_size=512,
        n_epochs=4,
        learning_rate="lin_7e-4_5e-5",
        ent_coef="lin_1e-2",
        # With these features the value estimate changes as soon as a ball is struck well or badly: little bias.
        gae_lambda=0.8,
        # What a lost life costs while others are left lies beyond gamma's horizon: without this signal, agents learn
        # to let Breakout's ball go.
        terminal_on_life_loss=True,
        # Without noise that persists over a rollout, random exploration hardly ever crosses Freeway's first street.
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

# One network input per value of each byte: bit masks, states and positions on a scale of their own are not numbers.
_N_VALUES = 6144
_EMBEDDED = _TUNED.model_copy(
    update={
        "name": "ppo-embeddings",
        "description": "ppo-tuned with embeddings of the values of each byte, LayerNorm, and the gaps from controlled "
        "bytes to all positions",
        "algorithm": _TUNED.algorithm.model_copy(
            update={
                "network": NetworkSettings(
                    pi=(256, 256), vf=(256, 256), activation="relu", layer_norm=True, value_embeddings=_N_VALUES
                )
            }
        ),
        "features": _TUNED.features.model_copy(
            update={"controlled_bytes": 2, "position_bytes": 24, "value_indices": _N_VALUES}
        ),
    }
)

# An LSTM processes the sequences of a batch in parallel, but their steps one after the other. Rollouts are half as long
# as ppo-tuned's, so that a batch holds more and shorter sequences.
_RECURRENT = _TUNED.model_copy(
    update={
        "name": "recurrent-ppo",
        "description": "sb3-contrib's RecurrentPPO (LSTM) on ppo-tuned's features",
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

# rl-baselines3-zoo's hyperparameters for Atari, and the network of Mnih et al. 2015 (Stable-Baselines3's NatureCNN).
_PIXELS = ApproachSettings(
    name="ppo-pixels",
    description="PPO on the screen instead of RAM: NatureCNN on the last four frames, 84 x 84, grayscale",
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
            description="PPO with Stable-Baselines3's defaults, on RAM scaled to [0, 1]",
            algorithm=PpoSettings(),
            features=FeatureSettings(kind="scaled"),
        ),
        _TUNED,
        _EMBEDDED,
        _TUNED.model_copy(
            update={
                "name": "ppo-pipelined",
                "description": "ppo-tuned, collecting the next rollout while training on the last one: more "
                "steps per second, lower sample efficiency",
                "algorithm": _TUNED.algorithm.model_copy(update={"pipelined": True}),
            }
        ),
        ApproachSettings(
            name="ppo-bits",
            description="PPO with Stable-Baselines3's defaults, on the 2,048 bits of the current and the previous RAM",
            algorithm=PpoSettings(),
            features=FeatureSettings(kind="bits"),
        ),
        _RECURRENT,
        _PIXELS,
        ApproachSettings(
            name="a2c",
            description="A2C with Stable-Baselines3's defaults, on RAM scaled to [0, 1]",
            algorithm=A2cSettings(),
            features=FeatureSettings(kind="scaled"),
        ),
        ApproachSettings(
            name="dqn",
            description="DQN on ppo-tuned's features, with a replay buffer of RAM",
            algorithm=DqnSettings(network=_Q_NETWORK),
            features=_TUNED.features,
            n_envs=16,
            reward="sign",
        ),
        ApproachSettings(
            name="qrdqn",
            description="sb3-contrib's QR-DQN (distribution of returns instead of their mean), otherwise as dqn",
            algorithm=QrDqnSettings(network=_Q_NETWORK),
            features=_TUNED.features,
            n_envs=16,
            reward="sign",
        ),
        ApproachSettings(
            name="random",
            description="Uniformly random actions, no learning",
            algorithm=UnlearnedSettings(),
            features=FeatureSettings(kind="scaled"),
        ),
        ApproachSettings(
            name="noop",
            description="NOOP at every step, no learning",
            algorithm=UnlearnedSettings(algorithm="noop"),
            features=FeatureSettings(kind="scaled"),
        ),
    )
}


class UnknownApproachError(RamreelError, ValueError):
    """An approach is unknown; the message suggests the closest one and lists all."""


def approach(name: str) -> ApproachSettings:
    """Return the approach of this name.

    Raises:
        UnknownApproachError: If there is no such approach.
    """
    if name in APPROACHES:
        return APPROACHES[name]
    raise UnknownApproachError(f"Unknown approach {name!r}. {suggestion(name, APPROACHES)}")


def suggestion(name: str, available: Iterable[str], also: Iterable[str] = ()) -> str:
    """Return a hint for an unknown name: the closest match, among `also` too, and everything that is available."""
    names = list(available)
    matches = difflib.get_close_matches(name, [*names, *also], n=1)
    hint = f"Did you mean {matches[0]!r}? " if matches else ""
    return f"{hint}Available: {', '.join(names)}"
