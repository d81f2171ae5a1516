"""Zips as former versions of Stable-Baselines3 wrote them, over `gym` instead of Gymnasium."""

from __future__ import annotations

import base64
import io
import json
import pickle
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy

Arrays = dict[str, torch.Tensor]


def mlp_weights(widths: tuple[int, ...] = (8,), inputs: int = 128, actions: int = 4, shared: int = 0) -> Arrays:
    """Return the state dict of an MlpPolicy; `shared` is the width of a layer that policy and value function share."""
    generator = torch.Generator().manual_seed(0)

    def layer(name: str, rows: int, columns: int) -> Arrays:
        return {
            f"{name}.weight": torch.randn(rows, columns, generator=generator) / 100,
            f"{name}.bias": torch.randn(rows, generator=generator),
        }

    weights = layer("mlp_extractor.shared_net.0", shared, inputs) if shared else {}
    for net, head, outputs in (("policy_net", "action_net", actions), ("value_net", "value_net", 1)):
        size = shared or inputs
        for number, width in enumerate(widths):
            weights |= layer(f"mlp_extractor.{net}.{2 * number}", width, size)
            size = width
        weights |= layer(head, outputs, size)
    return weights


def constant_fn(val: float) -> Callable[[float], float]:
    """Return a constant schedule, as Stable-Baselines3 1.x defines it."""

    def func(_: float) -> float:
        return val

    return func


def linear_schedule(initial_value: float) -> Callable[[float], float]:
    """Return a linear schedule, as rl-baselines3-zoo defined it."""

    def func(progress_remaining: float) -> float:
        return progress_remaining * initial_value

    return func


def by_value(function: Callable[[float], float], module: str) -> Callable[[float], float]:
    """Return a function that cloudpickle pickles by value, as a function of another module."""
    function.__module__ = module
    return function


@contextmanager
def gym_spaces() -> Iterator[Any]:
    """Define `gym.spaces` while a zip is written; nobody who reads it has `gym`."""
    modules = {name: types.ModuleType(name) for name in ("gym", "gym.spaces", "gym.spaces.box", "gym.spaces.discrete")}
    for module, name in (("gym.spaces.box", "Box"), ("gym.spaces.discrete", "Discrete")):
        space = type(name, (), {"__module__": module})
        setattr(modules[module], name, space)
        setattr(modules["gym.spaces"], name, space)
    sys.modules |= modules
    try:
        yield modules["gym.spaces"]
    finally:
        for name in modules:
            del sys.modules[name]


def pickled(value: object, plain: dict[str, object] | None = None) -> dict[str, object]:
    """Return what Stable-Baselines3 writes for a value that JSON cannot hold."""
    raw = value if isinstance(value, bytes) else cloudpickle.dumps(value, protocol=4)
    return {":type:": str(type(value)), ":serialized:": base64.b64encode(raw).decode(), **(plain or {})}


def write_zip(path: Path, weights: Arrays | bytes | None = None, **changes: object) -> Path:
    """Write the zip of a PPO on RAM as Stable-Baselines3 1.0 did.

    Args:
        path: the zip.
        weights: state dict of the policy, or the bytes of its file.
        changes: values of `data`; None leaves one out.
    """
    with gym_spaces() as spaces:
        observations, actions = spaces.Box(), spaces.Discrete()
        bounds = {"low": np.zeros(128, np.uint8), "high": np.full(128, 255, np.uint8)}
        vars(observations).update(dtype=np.dtype("u1"), shape=(128,), **bounds, _np_random=None)
        vars(actions).update(n=4, shape=(), dtype=np.dtype("i8"), _np_random=np.random.RandomState(0))
        data: dict[str, object] = {
            "policy_class": pickled(ActorCriticPolicy),
            "policy_kwargs": {},
            "observation_space": pickled(observations),
            "action_space": pickled(actions),
            "n_envs": 8,
            "num_timesteps": 1_000_448,
            "_total_timesteps": 1_000_000,
            "seed": 1648070233,
            "learning_rate": pickled(by_value(linear_schedule(2.5e-4), "utils.utils")),
            "clip_range": pickled(by_value(constant_fn(0.1), "stable_baselines3.common.utils")),
            "_last_obs": pickled(np.zeros((8, 128), np.uint8)),
            "n_steps": 32,
            "gamma": 0.98,
            "gae_lambda": 0.8,
            "ent_coef": 0.0,
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "batch_size": 256,
            "n_epochs": 20,
        } | changes
    file = io.BytesIO()
    torch.save(mlp_weights() if weights is None else weights, file)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps({name: value for name, value in data.items() if value is not None}))
        archive.writestr("pytorch_variables.pth", b"")
        archive.writestr("policy.pth", weights if isinstance(weights, bytes) else file.getvalue())
        archive.writestr("_stable_baselines3_version", "1.0rc0")
        archive.writestr("system_info.txt", "OS: Linux\nGym: 0.19.0\n")
    return path


def bomb(exploded: Path) -> bytes:
    """Return a pickle that creates a file when it is unpickled."""

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(exploded), "w")

    return pickle.dumps(Bomb())
