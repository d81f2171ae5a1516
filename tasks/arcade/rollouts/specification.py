"""The rollouts of any approach."""

from __future__ import annotations

from pkgutil import resolve_name

from tasks.arcade.policies.algorithms import algorithm_of
from tasks.arcade.rollouts.on_policy import RolloutSettings
from tasks.arcade.settings.game import GameSettings
from tasks.arcade.settings.run import ApproachSettings


def rollout_settings(game: GameSettings, approach: ApproachSettings, seed: int) -> RolloutSettings:
    """Return the specification of an approach's rollouts.

    Raises:
        ValueError: If the approach does not learn.
    """
    training = algorithm_of(approach).training
    if training is None:
        raise ValueError(f"approach {approach.name} does not learn: it has no rollouts")
    specification: type[RolloutSettings] = resolve_name(training.rollouts)
    return specification(game, approach, seed)
