"""The same networks and features in torch, as a reference for forward passes and gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from gymnasium import spaces

from tasks.arcade.emulator.emulator import Ram
from tasks.arcade.learner import RamPolicy
from tasks.arcade.policies.actor_critic import VALUES
from tasks.arcade.policies.feature_statistics import Statistics
from tasks.arcade.settings.features import FeatureSettings
from tasks.arcade.settings.networks import NetworkSettings

# Clips that no integer difference hits exactly, because the gradient is undefined at a kink.
MOVERS = FeatureSettings(kind="standardized", moving_bytes=8, difference_scale=8.0, clip=1.9)
FEATURES = {
    "scaled": FeatureSettings(kind="scaled"),
    "standardized": FeatureSettings(kind="standardized", clip=2.9),
    "moving_bytes": MOVERS,
    "waves": MOVERS.model_copy(update={"gap_scales": (24.0,), "gap_periods": (50.0, 120.0)}),
    "controlled": MOVERS.model_copy(update={"controlled_bytes": 2, "position_bytes": 6, "gap_periods": (50.0,)}),
    "bits": FeatureSettings(kind="bits"),
}
ACTION = 4


def torch_policy(network: NetworkSettings, n_features: int = 256) -> RamPolicy:
    torch.manual_seed(0)
    policy = RamPolicy(
        spaces.Box(-np.inf, np.inf, (n_features,), np.float32), spaces.Discrete(6), lambda _: 0.0, network=network
    )
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            change = 0.1 * torch.randn_like(parameter)
            if name.endswith(f".{VALUES}"):
                change[0] = 0
            parameter.add_(change)
    return policy


def some_statistics(settings: FeatureSettings) -> Statistics:
    rng = np.random.default_rng(3)
    # Some bytes hardly vary, so that other values are far out of range and clipped.
    seen = (rng.normal(128, rng.uniform(0.5, 60, 128), (500, 128)) % 256).astype(np.uint8)
    statistics = Statistics.empty().updated(seen)
    moving_bytes = (5, 17, 9, 100, 101) if settings.moving_bytes else ()
    controlled, positions = ((17, 5), (5, 9, 30, 99, 127)) if settings.controlled_bytes else ((), ())
    return replace(statistics, moving_bytes=moving_bytes, controlled_bytes=controlled, position_bytes=positions)


def two_rams(seed: int = 0) -> tuple[Ram, Ram]:
    rng = np.random.default_rng(seed)
    previous = rng.integers(0, 256, 128).astype(np.uint8)
    return previous + rng.integers(-20, 20, 128).astype(np.uint8), previous


def by_torch(
    settings: FeatureSettings,
    statistics: Statistics,
    policy: RamPolicy,
    ram: Ram,
    previous: Ram,
    *recurrent_arguments: object,
) -> Ram:
    """Return the gradient of the log-probability by the RAM, with the features reimplemented in torch and float64.

    For a recurrent policy, LSTM states and episode starts follow the other arguments.
    """
    byte = torch.tensor(ram.astype(np.float64), requires_grad=True)
    bits = torch.tensor(np.unpackbits(np.concatenate([ram, previous])).astype(np.float64), requires_grad=True)
    match settings.kind:
        case "scaled":
            features = byte / 255
        case "bits":
            features = bits
        case "standardized":
            wrapped = torch.tensor((ram - previous).view(np.int8) - ram.astype(np.float64)) + byte
            standardized = (byte - torch.tensor(statistics.mean)) / torch.tensor(statistics.deviation)
            pairs = [(a, b) for i, a in enumerate(statistics.moving_bytes) for b in statistics.moving_bytes[i + 1 :]]
            # Bytes 5, 9 and 17 are moving bytes: their gaps are features already.
            pairs += [(17, 30), (17, 99), (17, 127), (5, 30), (5, 99), (5, 127)] if settings.controlled_bytes else []
            gaps = torch.stack([byte[a] - byte[b] for a, b in pairs]) if pairs else torch.zeros(0)
            lines = [(gaps / scale).clamp(-settings.clip, settings.clip) for scale in settings.gap_scales]
            turns = [gaps * 2 * torch.pi / period for period in settings.gap_periods]
            waves = [wave(turn) for turn in turns for wave in (torch.sin, torch.cos)]
            n_pairs = settings.moving_bytes * (settings.moving_bytes - 1) // 2
            n_pairs += settings.controlled_bytes * settings.position_bytes
            n_gap_features = (len(settings.gap_scales) + 2 * len(settings.gap_periods)) * n_pairs
            gain = torch.full(
                (128,), settings.static_byte_gain if statistics.moving_bytes else 1.0, dtype=torch.float64
            )
            gain[list(statistics.moving_bytes)] = 1
            clipped = [
                part.clamp(-settings.clip, settings.clip)
                for part in (standardized, wrapped / settings.difference_scale)
            ]
            features = torch.cat([part * gain for part in clipped])
            if settings.moving_bytes:
                gap_features = torch.cat([*lines, *waves])
                features = torch.cat(
                    [features, gap_features, torch.zeros(n_gap_features - len(gap_features), dtype=torch.float64)]
                )
    _, log_prob, _ = policy.evaluate_actions(features[None], torch.tensor([ACTION]), *recurrent_arguments)
    log_prob.sum().backward()
    if settings.kind == "bits":
        return np.linalg.norm(bits.grad.numpy()[:1024].reshape(128, 8), axis=1)
    return byte.grad.numpy()
